"""Real formats, broken files, near-duplicates: what is read, what is refused, and that nothing else is left."""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from great_expectations.render.renderer import site_builder
from hypothesis import given, settings
from hypothesis import strategies as st

from factloop.corpora.clusters import assign_all, clusters, leaked
from factloop.corpora.formats import FORMATS
from factloop.corpora.readers import read
from factloop.corpora.rows import BadRow
from tasks import contracts, stages
from tasks.keys import file_digest
from tasks.profiles import Profile, ProfileError, WorldData, load_profile
from tasks.sources import SourceError
from tests.soundness import Killed

pytestmark = pytest.mark.unit
WORDS = [f"{first}{second}" for first in ("lan", "mor", "tel", "vis") for second in ("der", "gan", "kin", "low", "mer")]


def sentence(number: int, length: int = 25) -> str:
    return " ".join(WORDS[(number * 7 + place * (1 + number % 5)) % len(WORDS)] + str(number + place) for place in range(length)) + "."


def document(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": str(number), "document": sentence(number), "summary": " ".join(sentence(number).split()[:8])} | fields


def table_question(number: int) -> dict[str, Any]:
    return {
        "feta_id": number, "table_page_title": f"Page {number}", "table_section_title": "List",
        "table_array": [["Name", "Year"], [f"Mara Velling {number}", f"19{number:02d}"], [f"Jonas Falk {number}", f"20{number:02d}"]],
        "question": f"When did Mara Velling {number} win?", "answer": f"Mara Velling {number} won in 19{number:02d}.",
    }  # fmt: skip


def page(number: int) -> str:
    return (
        f"<p><b>Cup {number}</b> is a cup. Mara Velling {number} won the cup in 19{number:02d}.</p><h2>Winners</h2><table class='wikitable'>"
        f"<tr><th>Name</th><th>Year</th></tr><tr><td>Mara Velling {number}</td><td>19{number:02d}</td></tr>"
        f"<tr><td>Jonas Falk {number}</td><td>20{number:02d}</td></tr></table>"
    )


def archive(path: Path, pages: list[str]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for number, text in enumerate(pages):
            info = tarfile.TarInfo(f"page/{number}.html")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))


Toy = Callable[..., Profile]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A small mirror, and a profile on it; `files` replace the bytes of some of its files, `fields` what is declared of them.

    Files of other names are further sources of documents.
    """
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    monkeypatch.setattr(contracts, "STATE", tmp_path / "state")

    def make(quarantine: float = 0.0, fields: dict[str, dict[str, Any]] | None = None, **files: bytes) -> Profile:
        mirror = tmp_path / "mirror"
        mirror.mkdir()
        whole = {
            "documents": "\n".join(json.dumps(document(n)) for n in range(40)).encode(),
            "squad": json.dumps(
                {"data": [{"paragraphs": [{"context": sentence(n), "qas": [{"question": "Which word?", "answers": [{"text": sentence(n).split()[3]}]}]} for n in range(20)]}]}
            ).encode(),
            "fetaqa": "\n".join(json.dumps(table_question(n)) for n in range(10, 40)).encode(),
            "judged": json.dumps([{"doc": sentence(5), "summary": "Mara won.", "label": 1}]).encode(),
        } | files  # fmt: skip
        for name, content in whole.items():
            (mirror / name).write_bytes(content)
        archive(mirror / "wikipedia", [page(n) for n in range(50, 60)])
        readers = {"documents": "xsum", "judged": "summedits"}
        declared = {
            name: {
                "file": name,
                "sha256": file_digest(mirror / name),
                "licence": "none",
                "reader": readers.get(name, name if name in FORMATS else "xsum"),
                "origin": "test",
            }
            | (fields or {}).get(name, {})
            for name in (*whole, "wikipedia")
        }
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "sources.yaml").write_text(yaml.safe_dump(declared))
        monkeypatch.setenv("DATA_MIRROR", str(mirror))
        config = yaml.safe_load((Path(__file__).parent.parent / "configs" / "fault.yaml").read_text())
        config["data"]["source"] = {
            "kind": "sources", "documents": {name: 100 for name in whole if declared[name]["reader"] == "xsum"}, "questions": {"squad": 100}, "pages": {"wikipedia": 100},
            "table_questions": {"fetaqa": 100}, "judged": ["judged"], "quarantine": quarantine,
        }  # fmt: skip
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(config))
        return load_profile("toy", folder=tmp_path)

    return make


def made(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "data" / "toy").iterdir()} if (tmp_path / "data" / "toy").exists() else set()


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_stages_read_split_and_count(toy: Toy, tmp_path: Path) -> None:
    profile = toy()
    for stage in stages.STAGES:
        stages.run(stage, profile)
    assert made(tmp_path) == {"ingested", "validated", "mined", "split", "claims"}
    split = tmp_path / "data" / "toy" / "split"
    counts = json.loads((split / "counts.json").read_text())
    assert counts["dropped.judged.documents"] == 1 and counts["dropped.judged.questions"] == 1
    assert counts["mined"] == 10 and counts["dropped.quarantined"] == 0
    kept = [row["id"] for part in ("train", "validation", "test") for row in jsonl(split / f"summaries.{part}.jsonl")]
    assert sorted(kept) == sorted(f"documents/{n}" for n in range(40) if n != 5)


ROWS = [json.dumps(document(n)) for n in range(40)]


def with_third(row: str | bytes) -> bytes:
    lines = [text.encode() for text in ROWS]
    lines[2] = row if isinstance(row, bytes) else row.encode()
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"documents": with_third('{"id": "2", "document": ')}, "documents: row 3: not JSON"),
        ({"documents": with_third("[1, 2]")}, "documents: row 3: a list, not an object"),
        ({"documents": with_third(ROWS[2].encode("utf-16"))}, "documents: row 3: not UTF-8"),
        ({"documents": with_third(ROWS[2].encode() + b"\xff")}, "documents: row 3: not UTF-8 .byte"),
        ({"documents": with_third(json.dumps(document(2, summary="  ")))}, "documents: row 3: field 'summary' is empty"),
        ({"documents": with_third(json.dumps({"id": "2", "summary": "s"}))}, "documents: row 3: field 'document' is absent"),
        ({"documents": with_third(json.dumps(document(2, document=7)))}, "documents: row 3: field 'document' is empty or not text"),
        ({"documents": with_third(json.dumps(document(2, document="nul \0 here")))}, "documents: row 3: field 'document' has a NUL"),
        ({"documents": with_third(ROWS[2].encode()[:9] + b"\0" + ROWS[2].encode()[9:])}, "documents: row 3: has a NUL character"),
        ({"documents": with_third(json.dumps(document(2, id="1")))}, "id: expect_column_values_to_be_unique.*'documents/1'"),
        ({"documents": with_third(json.dumps(document(2, document="word " * 400_000)))}, "longest_text: .*\\(row \\d+: documents/2\\)"),
        ({"documents": with_third(json.dumps(document(2, summary="?!...?!")))}, "summary: expect_column_values_to_match_regex"),
        ({"documents": b""}, "documents: row 1: the file has no rows"),
        ({"judged": b"[]"}, "judged: row 1: the file has no rows"),
        ({"squad": b"{}"}, "squad: row 1: not SQuAD v1.1 .KeyError"),
        ({"squad": b'{"data": [{"paragraphs": [{"context": "c"}]}]}'}, "squad: row 1: not of this format .KeyError: 'qas'"),
        ({"fetaqa": json.dumps(table_question(1) | {"table_array": [["a", "b"], ["c"]]}).encode()}, "fetaqa: row 1: .*widths \\[1, 2\\]"),
        ({"fetaqa": json.dumps(table_question(1) | {"table_array": [["a", "b"], "cd"]}).encode()}, "fetaqa: row 1: a table must be a list of rows"),
        ({"judged": b'{"doc": "x"}'}, "judged: row 1: a dict, not a list"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_leaves_no_trace(toy: Toy, tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    profile = toy(**files)
    with pytest.raises(ValueError, match=says):
        for stage in ("ingest", "validate"):
            stages.run(stage, profile)
    assert made(tmp_path) <= {"ingested"}  # what the stage before it had ended; nothing of its own
    assert not list(tmp_path.rglob("*.unfinished"))


def test_a_csv_file_has_fields_of_any_length_and_a_bad_row_is_named_by_its_line(tmp_path: Path) -> None:
    path, header, long = tmp_path / "notes.csv", "ID,dialogue,section_text\r\n", sentence(1, 30) * 2000
    path.write_text(f'\ufeff{header}1,"{long}\r\nand more",Mara won.\r\n')
    (row,) = read(path, FORMATS["mts-dialog"])
    assert len(long) > 200_000 and row["document"].endswith("and more")
    for bad, says in (('3,a,"b', "row 4: not CSV"), ("3,a", "row 4: 2 fields where the header has 3")):
        path.write_text(f'{header}1,"two\r\nlines",b\r\n{bad}')
        with pytest.raises(BadRow, match=says):
            list(read(path, FORMATS["mts-dialog"]))


def test_a_failed_stage_overwrites_nothing(toy: Toy, tmp_path: Path) -> None:
    profile = toy()
    stages.run("ingest", profile)
    before = file_digest(tmp_path / "data" / "toy" / "ingested" / "documents.jsonl")
    path = tmp_path / "mirror" / "fetaqa"
    path.write_bytes(path.read_bytes() + b"\n{")
    with pytest.raises(SourceError, match="SHA-256 is"):
        stages.run("ingest", profile)
    assert file_digest(tmp_path / "data" / "toy" / "ingested" / "documents.jsonl") == before


def test_data_docs_that_cannot_be_written_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "STATE", tmp_path)
    row = {"id": "a", "document": "Mara won the race in Oslo. " * 10, "summary": "Mara won in Oslo on a cold day."}
    (tmp_path / "data-docs" / "toy" / "summaries").mkdir(parents=True)
    (tmp_path / "data-docs" / "toy" / "summaries" / "validations").write_text("a file in the way of a folder")
    site_builder.logger.disabled = True  # as MLflow leaves it that migrates a database
    with pytest.raises(NotADirectoryError):
        contracts.check("summaries", [row], "here", "toy")


def test_bad_rows_are_set_aside_with_their_reasons_as_far_as_the_profile_allows(toy: Toy, tmp_path: Path) -> None:
    bad = [*ROWS, "{", json.dumps(document(41, summary=" ")), json.dumps(document(42, summary="?!?!?!")), json.dumps(document(43))]
    profile = toy(quarantine=0.1, documents="\n".join(bad).encode())
    for stage in stages.STAGES:
        stages.run(stage, profile)
    aside = jsonl(tmp_path / "data" / "toy" / "validated" / "quarantined.jsonl")
    assert [(row["file"], row["rule"].split(" ")[0]) for row in aside] == [
        ("documents", "not"),
        ("documents", "field"),
        ("documents.jsonl", "summary:"),
    ]
    assert [row["row"] for row in aside[:2]] == [41, 42] and aside[2]["id"] == "documents/42"
    assert json.loads((tmp_path / "data" / "toy" / "split" / "counts.json").read_text())["dropped.quarantined"] == 3
    source = profile.data.source.model_copy(update={"quarantine": 0.01})
    strict = profile.model_copy(update={"data": profile.data.model_copy(update={"source": source})})
    for stage, says in (
        ("ingest", r"2 of 44 rows of documents are bad; data.source.quarantine allows 1.0%:\n  documents: row 41: not JSON"),
        ("validate", r"1 of 42 rows of documents are bad; data.source.quarantine allows 1.0%:\n  documents.jsonl: row \d+: summary"),
    ):
        with pytest.raises(SourceError, match=says):
            stages.run(stage, strict)


@pytest.mark.parametrize(("stage", "bad"), [("ingest", " "), ("validate", "?!?!?!")])
def test_a_small_broken_source_does_not_hide_in_a_large_one(toy: Toy, stage: str, bad: str) -> None:
    few = [document(900 + n) for n in range(3)] + [document(903, summary=bad)]
    large = "\n".join(json.dumps(document(n)) for n in range(400)).encode()
    profile = toy(quarantine=0.05, documents=large, small="\n".join(map(json.dumps, few)).encode())
    with pytest.raises(SourceError, match=r"1 of 4 rows of small are bad; data.source.quarantine allows 5.0%"):
        for name in ("ingest", "validate"):
            stages.run(name, profile)
            assert name != stage, "the one in four went by"


def test_what_published_splits_share_is_dropped_from_the_earlier_one_and_counted(toy: Toy, tmp_path: Path) -> None:
    tested = [document(n) | {"id": f"again-{n}"} for n in (3, 7, 11)] + [document(600)]
    given_splits = {"documents": {"split": "train"}, "examined": {"split": "test"}}
    profile = toy(fields=given_splits, examined="\n".join(map(json.dumps, tested)).encode())
    for stage in stages.STAGES:
        stages.run(stage, profile)
    split = tmp_path / "data" / "toy" / "split"
    counts = json.loads((split / "counts.json").read_text())
    assert counts["dropped.between_splits.documents"] == counts["near_duplicates.documents"] == 3
    assert {row["id"] for row in jsonl(split / "summaries.test.jsonl")} == {f"examined/{row['id']}" for row in tested}
    trained = {row["id"] for row in jsonl(split / "summaries.train.jsonl")}
    assert trained == {f"documents/{n}" for n in range(40) if n not in (3, 5, 7, 11)}  # 5 is what people judged


def test_a_non_commercial_source_is_taken_where_the_profile_says_so_alone(toy: Toy, tmp_path: Path) -> None:
    closed = [document(n) for n in range(600, 603)]
    profile = toy(fields={"closed": {"non_commercial": True, "licence": "CC BY-NC"}}, closed="\n".join(map(json.dumps, closed)).encode())
    source = profile.data.source.model_copy(update={"non_commercial": True})
    opened = profile.model_copy(update={"data": profile.data.model_copy(update={"source": source})})
    for own, names, count in ((profile, {"documents"}, 40), (opened, {"documents", "closed"}, 43)):
        stages.run("ingest", own)
        rows = jsonl(tmp_path / "data" / "toy" / "ingested" / "documents.jsonl")
        assert {row["source"] for row in rows} == names and len(rows) == count


def test_a_stage_that_a_kill_strikes_leaves_nothing_of_its_own(toy: Toy, tmp_path: Path, kill: Callable[[str], None]) -> None:
    profile = toy()
    for point in ("rows:half-written@documents.jsonl", "rows:written@questions.jsonl", "stage:written", "stage:cleared"):
        kill(point)
        with pytest.raises(Killed):
            stages.run("ingest", profile)
        assert not (tmp_path / "data" / "toy" / "ingested").exists(), point
    kill("")
    stages.run("ingest", profile)
    assert made(tmp_path) == {"ingested"}


def test_bom_crlf_and_control_characters_are_read_as_what_they_mean(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join([json.dumps(document(1, document="a\u0007 b\r\n\tc")), "", json.dumps(document(2))]).encode()
    )
    assert [row["document"] for row in read(path, FORMATS["xsum"])] == ["a b c", sentence(2)]


@pytest.mark.parametrize("name", ["xsum", "squad", "mts-dialog", "summedits", "newsqa"])
def test_a_broken_gzip_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(b"no gzip")
    with pytest.raises(BadRow, match="f.gz: row 1: cannot be read"):
        list(read(tmp_path / "f.gz", FORMATS[name]))


def test_a_table_as_a_careful_person_would_read_it(tmp_path: Path) -> None:
    html = """<p><b>The <i>Cup</i></b> is old.</p><h2>Results</h2><table class="sortable wikitable">
<tr><th rowspan="2">Team</th><th colspan="2">Goals</th></tr><tr><th>For</th><th>Against</th></tr>
<tr><td rowspan="2">Hawks<sup class="reference">[3]</sup></td><td>1,007</td><td>007</td></tr>
<tr><td><span style="display:none">99</span>&lt;script&gt;</td><td>N/A</td></tr></table>
<table class="wikitable"><tr><td>alone</td></tr></table><table><tr><td>layout</td><td>x</td></tr></table>"""
    archive(tmp_path / "t", [html])
    (row,) = read(tmp_path / "t", FORMATS["wikipedia"])
    assert row["header"] == ["Team", "Goals For", "Goals Against"] and row["title"] == "The Cup: Results"
    assert row["rows"] == [["Hawks", "1,007", "007"], ["Hawks", "<script>", "N/A"]]
    assert row["text"] == "The Cup is old."


@pytest.mark.parametrize(
    ("html", "says"),
    [
        ("<p><b>a</b> b.</p><table class='wikitable'><tr><td colspan='1000000'>x</td></tr></table>", "colspan '1000000'; the most is 200"),
        ("<p><b>a</b> b.</p><table class='wikitable'><tr><td rowspan='-1'>x</td></tr></table>", "rowspan '-1'"),
        ("", "an empty page"),
    ],
)
def test_a_hostile_page_is_refused_by_number(tmp_path: Path, html: str, says: str) -> None:
    archive(tmp_path / "t", [page(1), html])
    bad: list[BadRow] = []
    assert len(list(read(tmp_path / "t", FORMATS["wikipedia"], bad.append))) == 1
    assert len(bad) == 1 and "row 2: " in str(bad[0]) and says in str(bad[0])


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=6), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "document", "summary", "source", "target", "data", "paragraphs", "qas", "context", "answers", "question", "text", "table_array", "header", "title", "uid", "passages", "doc", "article"]), inner, max_size=4), max_leaves=12)  # fmt: skip


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_whatever_the_bytes_a_reader_gives_rows_or_says_what_is_wrong(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Random bytes and random JSON: rows or BadRow, never another exception."""
    path = tmp_path_factory.mktemp("fuzz") / "f"

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=200) | st.lists(VALUES, max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        bad: list[BadRow] = []
        try:
            for row in read(path, FORMATS[name], bad.append):
                assert all("\0" not in value for value in row.values() if isinstance(value, str))
        except BadRow as error:
            assert str(path) in str(error)

    holds()


def fields(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in config.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from fields(value, f"{prefix}{name}.")


FAULT = yaml.safe_load((Path(__file__).parent.parent / "configs" / "fault.yaml").read_text())
FIELDS = sorted(name for name in fields(FAULT) if not name.startswith("data")) + ["summarizer.scores", "judges.quals.nothing"]
WRITTEN = VALUES.map(json.dumps) | st.sampled_from(
    ["-1", "0", "1e400", ".nan", "null", "[]", "{}", "2001-02-30", "!!python/none", "&a [*a]"]
)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60) | st.tuples(st.sampled_from(FIELDS), WRITTEN).map("=".join))
def test_any_override_is_taken_or_refused_with_a_reason(text: str) -> None:
    try:
        load_profile("fault", [text])
    except ProfileError as error:
        assert len(str(error)) > 10


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(fields(FAULT))), VALUES, st.sampled_from(["set", "drop", "add"]))
def test_any_profile_file_is_taken_or_refused_with_a_reason(path: str, value: Any, how: str) -> None:
    config = copy.deepcopy(FAULT)
    *above, last = path.split(".")
    level = config
    for name in above:
        level = level[name]
    if how == "drop":
        del level[last]
    else:
        level[last if how == "set" else f"{last}s"] = value
    with TemporaryDirectory() as folder:
        (Path(folder) / "fuzz.yaml").write_text(yaml.safe_dump(config))
        try:
            load_profile("fuzz", folder=Path(folder))
            assert how != "add"
        except ProfileError as error:
            assert "fuzz.yaml" in str(error)
            assert how != "add" or f"{path}s: " in str(error) or f"{last}s: " in str(error)


def test_the_tables_of_the_world_that_are_asked_about_are_not_taken_for_those_that_are_mined() -> None:
    source = load_profile("fault").data.source
    assert isinstance(source, WorldData)
    rows = stages._world(source)
    names = [{row["page"] for row in rows[shape]()} for shape in ("pages", "table_questions")]
    assert all(names) and not names[0] & names[1]


def test_published_splits_are_kept_and_what_copies_a_test_document_is_dropped() -> None:
    names = ["a", "a", "a", "b", "b", "c", "d", "d"]
    given_splits = ["train", "test", None, "train", None, None, None, None]
    placed = assign_all(names, given_splits, 0.0, 0.0)  # type: ignore[arg-type]
    assert placed == [None, "test", None, "train", "train", "train", "train", "train"]
    assert set(assign_all(["c", "d"], [None, None], 0.0, 1.0)) == {"test"}


def test_near_duplicates_are_found_as_often_as_measured() -> None:
    """3% of the words of 200 short texts deleted: at least 9 of 10 copies are found, and no two originals joined."""
    texts = [sentence(number, 30) for number in range(0, 20_000, 100)]
    copies = [" ".join(word for place, word in enumerate(text.split()) if place != 7 * index % 30) for index, text in enumerate(texts)]
    names = clusters(texts + copies)
    assert len(set(names[:200])) == 200
    assert sum(names[index] == names[200 + index] for index in range(200)) >= 180


def test_a_judged_document_is_found_when_it_is_cut_or_embedded() -> None:
    judged = [sentence(1, 80), sentence(500, 60)]
    cut, embedded = " ".join(judged[0].split()[:40]), f"{sentence(900, 200)} {judged[1]} {sentence(1300, 200)}"
    assert list(leaked([cut, embedded, sentence(2000, 80), ""], judged)) == [True, True, False, False]
