"""A table of a person's own: what is read, what is refused, and what is answered."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import subprocess
from pathlib import Path

import pytest

from factloop.corpora.rows import BadRow, write_rows
from factloop.corpora.table_files import read_table
from factloop.settings import TrainingSettings
from factloop.steps.tables import evaluate
from factloop.tables.answer import answer_questions, answered, asked_without, choose_threshold, used_cells
from factloop.tables.model import TableQA, train_table_qa
from factloop.tables.truncate import fit_table, lost_evidence, shortened, stated_cells
from tests.conftest import Clone
from tests.test_training import Quiet, tiny

SMOKE = tuple[Clone, subprocess.CompletedProcess[str]]
HOSTILE = "<script>alert(1)</script>[red]x[/red]"


# Reading


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"Coach,Won\nMara,3\n=1+1,\n"),
        ("a.csv", b"\xef\xbb\xbfCoach,Won\r\nMara,3\r\n\r\n=1+1,\r\n"),
        ("a.csv", b"Coach;Won\nMara;3\n=1+1;\n"),
        ("a.csv", b"Coach,Won,\nMara,3,\n=1+1,,,\n"),
        ("a.tsv", b"Coach\tWon\nMara\t3\n=1+1\t\n"),
        ("a.csv.gz", gzip.compress(b'"Coach", Won \n"Mara\n",3\n=1+1,\n', mtime=0)),
        ("a.jsonl", b'{"Coach": "Mara", "Won": 3}\n{"Won": null, "Coach": "=1+1"}\n'),
    ],
)
def test_files_of_the_same_table_read_alike(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert read_table(tmp_path / name) == {"title": "a", "header": ["Coach", "Won"], "rows": [["Mara", "3"], ["=1+1", ""]]}


@pytest.mark.unit
def test_columns_without_a_name_or_with_one_twice_get_one(tmp_path: Path) -> None:
    (tmp_path / "my_table.csv").write_text(f"a,a,,,a (2),b\n1,2,3,,5,{HOSTILE}\n")
    found = read_table(tmp_path / "my_table.csv")
    assert found["header"] == ["a", "a (2)", "column 3", "a (2) (2)", "b"] and found["rows"] == [["1", "2", "3", "5", HOSTILE]]
    assert found["title"] == "my table" and read_table(tmp_path / "my_table.csv", "T")["title"] == "T"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", b"a,b\n1,2\n3\n", "row 3: 1 cells where the header has 2"),
        ("a.csv", b'a,b\n"1\n1",2\n3,4,5\n', "row 4: 3 cells where the header has 2"),
        ("a.csv", b"", "row 1: a table has a header and a row"),
        ("a.csv", b"a,b\n\n,\n", "row 1: a table has a header and a row"),
        ("a.csv", "a,b\né,1\n".encode("latin-1"), "row 2: not UTF-8"),
        ("a.csv", b"a,b\n1,\x1b[2J\n", r"row 2: field 'cell' has the control character U\+001B"),
        ("a.csv", b'a,b\n1,"2\n', "row 2: not CSV"),
        ("a.csv", b"a,b\n1,\0\n", "row 2: has a NUL"),
        ("a.csv", b",".join([b"x"] * 201) + b"\n" + b",".join([b"1"] * 201), "row 1: 201 columns and 1 rows"),
        ("a.csv", b"a\n" + b"1\n" * 10_001, "row 1: 1 columns and 10001 rows"),
        ("a.jsonl", b'{"a": 1}\n{"b": 1}\n', r"row 2: its fields are \['b'\], those of the first \['a'\]"),
        ("a.jsonl", b'{"a": 1}\n{"a": [1]}\n', "row 2: a field is a list or an object"),
        ("a.jsonl", b"[1]\n", "row 1: a list, not an object"),
        ("a.xlsx", b"PK", "row 1: the file's name must end with one of .csv"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_with_file_row_and_reason(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadRow, match=f"^{re.escape(str(tmp_path / name))}: {says}"):
        read_table(tmp_path / name)


# Cutting


def letters(texts: object) -> list[int]:
    """A tokenizer of whole words, of four letters a token."""
    return [sum(-(-len(word) // 4) for word in str(text).split()) for text in texts]  # type: ignore[attr-defined]


@pytest.mark.unit
def test_a_table_that_fits_is_whole_and_a_large_one_keeps_what_is_asked_and_answered() -> None:
    rows = [[f"name {n}", f"city {n % 7}", str(n * 37)] for n in range(300)]
    whole = fit_table("who?", "T", ["a", "b", "c"], rows[:3], None, 100, letters)
    assert whole.rows == (0, 1, 2) and "name 2" in whole.parts
    for room in (40, 100, 400):
        cut = fit_table("what is the c of name 217?", "T", ["a", "b", "c"], rows, None, room, letters)
        assert 217 in cut.rows and "name 217" in cut.parts and list(cut.rows) == sorted(cut.rows)
        assert sum(letters([p for p in cut.parts if type(p) is str])) + sum(type(p) is not str for p in cut.parts) <= room
        taught = fit_table("who has the most?", "T", ["a", "b", "c"], rows, "name 299 with 11063", room, letters)
        assert not lost_evidence(taught, rows, "name 299 with 11063") and 299 in taught.rows
        unseen = fit_table("who has the most?", "T", ["a", "b", "c"], rows, None, room, letters)
        assert lost_evidence(unseen, rows, "name 299 with 11063") == {"name 299", "11063"}  # the question alone does not tell


@pytest.mark.unit
def test_ten_thousand_rows_of_two_hundred_columns_fit_a_small_window() -> None:
    rows = [[f"v{row}x{column}" for column in range(200)] for row in range(10_000)]
    header = [f"h{column}" for column in range(200)]
    cut = fit_table("what is h150 where h0 is v9000x0?", "T", header, rows, None, 160, letters)
    assert 9000 in cut.rows and {0, 150} <= set(cut.columns) and "v9000x150" in cut.parts


@pytest.mark.unit
def test_long_cells_are_cut_where_nothing_points_to_them() -> None:
    rows = [["alpha", "word " * 400], ["beta", "word " * 400]]
    cut = fit_table("what of beta?", "T", ["a", "b"], rows, None, 60, letters)
    assert 1 in cut.rows and "beta" in cut.parts
    assert shortened("one two three", 2, letters) == "one two" and len(shortened("x" * 400, 8, letters)) == 2
    assert stated_cells([["5", "Ann"], ["51", ""]], "Ann has 5") == {"Ann"} and stated_cells([["5"]], "5") == {"5"}


# Answering

TABLE = {
    "title": "T",
    "header": ["Coach", "Side", "Won"],
    "rows": [["Mara", "Hawks", "31"], ["Jonas", "Rams", "31"], ["Ruth", "Owls", "4"]],
}


@pytest.mark.unit
def test_cells_used_are_those_of_the_row_that_question_and_answer_name() -> None:
    row = TABLE | {"question": "How many did Jonas win?"}
    assert used_cells(row, "31", "He won 31 with the Rams.") == ((1, 0), (1, 1), (1, 2))
    assert used_cells(row, "99", "He won 99.") == () and used_cells(row, "", "Nothing.") == ()


@pytest.mark.unit
def test_unanswerable_questions_lack_the_rows_that_answer_them() -> None:
    row = TABLE | {"question": "Who has 4?", "answer": "Ruth has 4.", "short_answer": "Ruth"}
    (kept, yes), (without, no) = asked_without([row, row | {"short_answer": "Nobody"}])
    assert yes and not no and kept is row and without["rows"] == TABLE["rows"][:2]


@pytest.mark.unit
def test_a_model_learns_no_answer_whose_cells_were_cut_and_says_when_a_table_holds_none(tmp_path: Path) -> None:
    rows = [[f"name {n}", f"number {n} of {n * 7} in a long cell"] for n in range(12)]
    table = {"title": "T", "header": ["a", "b"], "rows": rows}
    questions = [table | {"question": f"what of name {n}?", "answer": f"It is name {n}.", "short_answer": f"name {n}"} for n in range(12)]
    everything = " and ".join(f"name {n} has number {n} of {n * 7} in a long cell" for n in range(12))
    model = TableQA.from_base(tiny())
    left_out = train_table_qa(
        model,
        [*questions, table | {"question": "what is all?", "answer": everything}],
        TrainingSettings(3, 8, 1e-2, warmup=1),
        0,
        tmp_path,
        Quiet(),
    )
    assert left_out == 1
    assert all(len(model.long.sources([model.fitted(row).parts])[0]) <= 32 for row in questions)
    model.answering = choose_threshold(model, questions)
    assert model.answering.threshold == 0.5 or model.answering.examples == 12
    assert choose_threshold(model, questions[:4]) == model.answering  # too few to choose on
    model.save(tmp_path / "model")
    assert TableQA.load(tmp_path / "model").answering == model.answering
    for one in answer_questions(model, questions[:3]):
        assert 0 <= one.confidence <= 1 and one.held == (one.confidence >= model.answering.threshold)
        assert one.confidence == 0 or one.short in [cell for row in rows for cell in row]


@pytest.mark.unit
def test_an_evaluation_says_how_many_short_answers_are_right(tmp_path: Path) -> None:
    model = TableQA.from_base(tiny())
    model.save(tmp_path / "model")
    asked = [TABLE | {"id": str(n), "question": f"who has {n}?", "answer": "Ruth has 4."} for n in range(4)]
    said, _ = answered(model, asked)
    assert all(said)
    write_rows(
        tmp_path / "asked.jsonl", [row | {"short_answer": text} for row, text in zip(asked, [*said[:2], "never", None], strict=True)]
    )
    found = {"model": tmp_path / "model", "questions": tmp_path / "asked.jsonl"}
    metrics = evaluate({"device": "cpu", "examples": 4, "meteor": False}, found, tmp_path, tmp_path, Quiet())
    assert metrics["short_exact"]["value"] == pytest.approx(2 / 3)


# The command


@pytest.mark.flow
def test_a_table_is_asked_in_the_terminal_and_on_a_page(smoke: SMOKE, tmp_path: Path) -> None:
    clone, _ = smoke
    taken = json.loads((clone.folder / "data/smoke/split/table_questions.test.jsonl").open().readline())
    stream = io.StringIO()
    csv.writer(stream).writerows([[*taken["header"], HOSTILE], *([*row, HOSTILE] for row in taken["rows"])])
    (tmp_path / "mine.csv").write_text(stream.getvalue())
    page = tmp_path / "answer.html"
    asked = ("-m", "flows.ask", str(tmp_path / "mine.csv"), taken["question"], "--profile", "smoke", "--page", str(page))
    result = clone.run(*asked)
    assert result.returncode == 0, result.stderr[-3000:]
    confidence, threshold = map(float, re.search(r"confidence  ([\d.]+); from ([\d.]+) on", result.stdout).groups())  # type: ignore[union-attr]
    assert 0 <= confidence <= 1 and 0 <= threshold <= 1 and "models:/smoke-table-qa/" in result.stdout
    assert ("does not hold the answer" in result.stdout) == (confidence < threshold)
    assert "[red]x" in result.stdout and taken["rows"][0][0] in result.stdout
    text = page.read_text()
    assert "<script" not in text and "&lt;script&gt;" in text and "default-src 'none'" in text and taken["rows"][-1][0] in text

    served = clone.ask(f"""
import mlflow, pandas
table = {json.dumps({name: taken[name] for name in ("title", "header", "rows")})!r}
model = mlflow.pyfunc.load_model("models:/smoke-table-qa@champion")
out = model.predict(pandas.DataFrame([{{"question": {taken["question"]!r}, "table": table}}]))
print(json.dumps(out.to_dict("records")))""")
    assert isinstance(served, list)
    assert list(served[0]) == ["long", "short", "cells", "confidence", "held"] and served[0]["held"] in ("yes", "no")
    metrics = {name: found["metrics"] for name, found in clone.finished("smoke").items()}
    assert metrics["table-qa"]["left_out"] == 0 and metrics["evaluate-table-qa"]["evidence_lost"] == 0  # type: ignore[index]
    assert "held_accuracy" in metrics["evaluate-table-qa"]  # type: ignore[operator]

    (tmp_path / "ragged.csv").write_text("a,b\n1\n")
    refused = [
        ((str(tmp_path / "ragged.csv"), "q"), "row 2: 1 cells where the header has 2"),
        ((str(tmp_path / "none.csv"), "q"), "No such file"),
        ((str(tmp_path / "mine.csv"), " "), "the question is empty"),
        ((str(tmp_path / "mine.csv"), "q", "--page", str(tmp_path)), "the page needs a name"),
        ((str(tmp_path / "mine.csv"), "q", "--profile", "world"), "there is no models:/world-table-qa@champion"),
    ]
    told = clone.ask(f"""
import contextlib, io
from flows.ask import main
out = []
for arguments in {[list(arguments) for arguments, _ in refused]!r}:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main(arguments)
    out.append(said.getvalue())
print(json.dumps(out))""")
    assert isinstance(told, list)
    for (_, says), said in zip(refused, told, strict=True):
        assert says in said
