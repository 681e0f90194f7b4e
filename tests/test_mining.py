"""What is mined from text about tables, from one sentence to whole files, and the sheets for its readers."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.mining import plain_hits
from benchmarks.mining_sheet import agree, draw, read_labels, write_sheet
from factloop.corpora.formats import FORMATS
from factloop.corpora.legible import detokenised, legible
from factloop.corpora.readers import read
from factloop.corpora.rows import BadRow, read_rows
from factloop.settings import MiningSettings
from factloop.statistics import cohen_kappa, wilson
from factloop.tables.corpus import Rules, in_order, mine_files
from factloop.tables.matching import CellIndex, find_cell, lowered
from factloop.tables.mining import mine, naming_column
from factloop.tables.sentences import sentence_spans, sentences
from flows import mine as command
from tests.conftest import ROOT
from tests.test_html_tables import td, th, wiki

pytestmark = pytest.mark.unit

# Tables with linked passages, and text


def test_a_tokenised_table_reads_as_it_was_written_and_says_which_rows_link_where(tmp_path: Path) -> None:
    row = {
        "uid": "t_0", "title": "Cup", "section_title": "Winners", "intro": "The cup ( 1990 ) is old .", "section_text": "",
        "header": [["Name", []], ["Town", []]],
        "data": [[["Ann Lee", ["/wiki/Ann"]], ["Oslo , Norway", ["/wiki/Oslo"]]], [["Bea", []], ["Oslo , Norway", ["/wiki/Oslo"]]]],
        "passages": {"/wiki/Oslo": "Oslo [ a ] is 'big ' .", "/wiki/Ann": "Ann Lee did n't stay .", "/wiki/None": "No cell links here ."},
    }  # fmt: skip
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    (found,) = read(tmp_path / "t.jsonl", FORMATS["ottqa"])
    assert found["text"] == "The cup (1990) is old. Ann Lee didn't stay. Oslo is 'big'." and found["rows"][0] == ["Ann Lee", "Oslo, Norway"]
    assert [(part["name"], found["text"][slice(*part["span"])], part.get("rows")) for part in found["passages"]] == [
        ("intro", "The cup (1990) is old.", None),
        ("/wiki/Ann", "Ann Lee didn't stay.", [0]),
        ("/wiki/Oslo", "Oslo is 'big'.", [0, 1]),
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": [["x"]]}, "widths \\[1, 2\\]"),
        ({"rows": "x"}, "list of rows"),
        ({"text": "\ud800"}, "half of a character"),
        ({"rows": [["\udfff", "x"]]}, "half of a character"),
        ({"rows": [["x"] * 2] * 10_001}, "10,001 rows and 2 columns"),
        ({"passages": [{"name": "p", "span": [0, 99]}]}, "outside the text"),
        ({"passages": [{"name": "p", "span": [0, 3], "rows": [7]}]}, "rows that the table does not have"),
        ({"page": None}, "field 'page' is absent"),
    ],
)
def test_a_bad_table_is_refused_with_the_reason(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    good = {"id": "1", "page": "Cup", "header": ["a", "b"], "rows": [["x", "y"]], "text": "Ann won."}
    (tmp_path / "t.jsonl").write_text(json.dumps(good) + "\n" + json.dumps(good | change))
    found = read(tmp_path / "t.jsonl", FORMATS["tables"])
    assert next(found)["rows"] == [["x", "y"]]
    with pytest.raises(BadRow, match=f"t.jsonl: row 2: .*{says}"):
        next(found)


@settings(deadline=None)
@given(st.text())
def test_legible_text_stays_as_it_is_and_sentences_lie_in_their_text(text: str) -> None:
    once = legible(text)
    assert legible(once) == once or "[" in text  # a mark that stood between two others
    assert detokenised(text) == detokenised(text).strip()
    before = 0
    for begin, end in sentence_spans(text):
        assert before <= begin < end <= len(text) and text[begin:end] == text[begin:end].strip()
        before = end


def test_sentences_end_at_stops_and_not_at_abbreviations() -> None:
    assert sentences("St. Helens F.C. won in 1990. Mr. J. R. Smith left.") == ["St. Helens F.C. won in 1990.", "Mr. J. R. Smith left."]
    assert sentences("彼は東京で生まれた。1990年に死んだ。") == ["彼は東京で生まれた。", "1990年に死んだ。"]
    assert sentences("It is in Minneapolis-St. Paul. It ends in Paul-St.") == ["It is in Minneapolis-St. Paul.", "It ends in Paul-St."]


# Cells in sentences


@pytest.mark.parametrize(
    ("cell", "sentence", "span"),
    [
        ("hawks", "the hawks.", (4, 9)),
        ("hawks", "blackhawks", None),
        ("ann", "joanne met ann", (11, 14)),
        ("c++", "in c++ and", (3, 6)),
        ("x", "", None),
        ("", "x", None),
        ("234", "of 1,234 men", None),
        ("1,234", "of 1,234,567 men", None),
        ("12.5", "of 112.5 m", None),
        ("120", "of -120 m", None),
        ("2010", "the 2010–11 season", None),
        ("2010", "from 2010–2014", (5, 9)),
        ("2010", "in 2010, 11 men", (3, 7)),
        ("1990", "the 1990s", None),
        ("12 km", "it is 12 km long", (6, 11)),
        ("jose", "jose\u0301 won", None),
        ("横浜市", "彼は横浜市で", (2, 5)),
        ("トム", "アトムが", None),
        ("москва", "в москва-сити", (2, 8)),
    ],
)
def test_cells_are_found_as_whole_words_and_numbers(cell: str, sentence: str, span: tuple[int, int] | None) -> None:
    assert find_cell(cell, sentence) == span
    assert lowered("\u0130X") == "\u0130x"  # a letter whose small form has two characters


WORD = st.text(alphabet="ab1,.: -東\u0301İ", min_size=1, max_size=5)


@settings(deadline=None)
@given(st.lists(st.lists(WORD, min_size=2, max_size=2), min_size=1, max_size=6), st.lists(WORD, max_size=12).map(" ".join))
def test_one_pass_finds_what_a_loop_over_cells_finds(rows: list[list[str]], sentence: str) -> None:
    assert sorted(CellIndex(rows).hits(sentence)) == plain_hits(rows, sentence)


PAGE: dict[str, Any] = {
    "id": "p", "page": "Coaches", "title": "Coach list", "header": ["Coach", "Side", "From", "Matches"],
    "rows": [
        ["Mara Velling", "the Hawks", "1990", "31"], ["Jonas Falk", "the Rams", "1992", "1,200"], ["Ruth Okoye", "the Hawks", "1994", "44"],
        ["Jonas Falk", "the Owls", "1996", "12 km"], ["Falk", "Jonas Falk", "1998", "7"],
    ],
}  # fmt: skip


def mined(text: str, begins: bool = False, **fields: Any) -> tuple[list[dict[str, Any]], Counter[str]]:
    counts: Counter[str] = Counter()
    return list(mine(PAGE | {"text": text} | fields, MiningSettings(5, 20, begins_with_name=begins), counts)), counts


@pytest.mark.parametrize(
    ("sentence", "kind", "cells"),
    [
        ("Mara Velling coached the Hawks for 31 matches.", "one row", {0: ["Mara Velling", "the Hawks"]}),  # 31 is too short to be evidence
        ("The Rams were trained by JONAS FALK.", "one row", {1: ["the Rams", "Jonas Falk"]}),
        ("Jonas Falk walked 12 km home.", "one row", {3: ["Jonas Falk", "12 km"]}),
        (
            "Jonas Falk led the Rams from 1992 and the Owls from 1996.",
            "several rows",
            {1: ["Jonas Falk", "the Rams", "1992"], 3: ["Jonas Falk", "the Owls", "1996"]},
        ),
        (
            "Mara Velling and Ruth Okoye both coached the Hawks.",
            "several rows",
            {0: ["Mara Velling", "the Hawks"], 2: ["Ruth Okoye", "the Hawks"]},
        ),
        ("Jonas Falk liked cake a lot.", None, {}),
        ("It was 1,200 in 1992 again.", None, {}),  # no letter
        ("The Rams met the Hawks in spring.", None, {}),
        ("The Hawks of Velling Town won.", None, {}),
        ("Jonas Falk led the Rams.", "one row", {1: ["Jonas Falk", "the Rams"]}),
    ],
)
def test_a_sentence_is_mined_for_the_rows_that_it_states(sentence: str, kind: str | None, cells: dict[int, list[str]]) -> None:
    found, counts = mined(f"Nothing is said here of it. {sentence}")
    assert counts["sentences.own text"] == 2 and counts["stating"] == len(found) == (kind is not None)
    for row in found:
        stated: dict[int, list[str]] = {}
        for cell in row["cells"]:
            begin, end = cell["span"]
            assert row["sentence"][begin:end].lower() == cell["value"].lower() == PAGE["rows"][cell["row"]][cell["column"]].lower()
            stated.setdefault(cell["row"], []).append(cell["value"])
        assert (row["kind"], stated) == (kind, cells) and row["sentence"] == sentence
        assert row["page"] == "Coaches" and row["table"] == "p" and row["place"] == [28, 28 + len(sentence)]


def test_what_is_not_mined_is_counted_by_the_rule() -> None:
    many = "Falk met Jonas Falk again here."  # of row 4, whose one cell is within the other
    short, long = "Mara Velling, the Hawks.", "Mara Velling led the Hawks " + "on and " * 10 + "on."
    rows = [["Ann Lee", "Oslo", "1990"], ["Ann Lee", "Oslo", "1992"], ["Bea", "Bergen", "1992"], ["Cy", "Lund", "1992"]]
    assert mined(many)[1]["dropped.a cell within another"] == 1
    assert mined(f"{short} {long}")[1]["dropped.too short or too long"] == 2
    assert mined("Ann Lee has lived in Oslo.", rows=rows)[1]["dropped.several rows, not told apart"] == 1
    assert mined("In 1990 the Hawks won for once.")[1]["dropped.the row is not named"] == 1
    assert mined("Mara Velling of the Hawks: she won.")[1]["stating"] == 0  # a label
    about = ("Mara Velling coached the Hawks.", "The Mara Velling of the Hawks.", "Then came Mara Velling to the Hawks.")
    found, counts = mined(" ".join(about), begins=True)
    assert [row["sentence"] for row in found] == [*about[:2]] and counts["dropped.it does not begin with the row's name"] == 1
    assert len(mined("We saw Mara Velling and Ruth Okoye coach the Hawks.", begins=True)[0]) == 1  # several rows
    text = "Mara Velling coached the Hawks twice."
    passages = [{"name": "/wiki/Falk", "span": [0, len(text)], "rows": [1, 3]}]
    found, counts = mined(text, passages=passages)
    assert not found and counts["dropped.the row does not link to the passage"] == counts["sentences.linked passages"] == 1
    (row,), _ = mined(text, passages=[passages[0] | {"rows": [0]}])
    assert row["passage"] == "/wiki/Falk"


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        ([["1", "Oslo", "Ann"], ["2", "Oslo", "Bea"], ["3", "Bergen", "Cy"]], 2),
        ([["1990", "Oslo"], ["1991", "Bergen"], ["1992", "Oslo"], ["1993", "Lund"]], 1),  # half of its cells are enough
        ([["1990", "Oslo"], ["1991", "oslo "]], None),
        ([], None),
    ],
)
def test_rows_are_named_by_the_first_column_in_words_that_tells_them_apart(rows: list[list[str]], column: int | None) -> None:
    assert naming_column(rows) == column


# Files


def lines(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        rows = [[[f"Ann Lee {number}", []], ["Oslo Town", []]], [["Bea", []], ["Bergen", []]]]
        text = f"Ann Lee {number} has lived in Oslo Town all her life ."
        yield {"uid": str(number), "title": f"Page {number}", "intro": text, "header": [["Name", []], ["Town", []]], "data": rows}


@pytest.fixture
def corpus(tmp_path: Path) -> list[Path]:
    """JSONL with a broken line and a repeated sentence, and an archive with a page that is refused."""
    tables = [json.dumps(line) for line in lines(40)]
    (tmp_path / "t.jsonl").write_text("\n".join([*tables[:20], "{", *tables[20:], json.dumps(next(lines(1)) | {"title": "Again"})]))
    page = f"<p><b>Cup</b> is old. Ann Lee won the cup again in 1990, and in Oslo.</p>{wiki(th('a', 'b'), td('Ann Lee', '1990'))}"
    with tarfile.open(tmp_path / "p.tar.gz", "w:gz") as archive:
        for name, content in (("a.html", page), ("b.html", ""), ("c.txt", "no page")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return [tmp_path / "t.jsonl", tmp_path / "p.tar.gz"]


def mine_all(files: list[Path], **how: Any) -> tuple[list[Any], Counter[str], list[Any]]:
    counts: Counter[str] = Counter()
    refused: list[Any] = []
    return list(mine_files(files, Rules(left_out=frozenset({"Page 3"})), counts, refused.append, **how)), counts, refused


def test_two_workers_give_what_one_gives(corpus: list[Path]) -> None:
    one = mine_all(corpus)
    rows, counts, refused = one
    assert [row["page"] for row in rows] == [f"Page {number}" for number in range(40) if number != 3] + ["Cup"]
    assert counts["repeated sentence"] == 1 and counts["tables left out by title"] == 1 and counts["documents"] == 44
    assert [(Path(file).name, number, rule[:8]) for file, number, rule in refused] == [
        ("t.jsonl", 21, "not JSON"),
        ("p.tar.gz", 2, "an empty"),
    ]
    assert mine_all(corpus, workers=2) == one


def test_ray_gives_what_processes_give(corpus: list[Path]) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    assert mine_all(corpus, workers=2, engine="ray") == mine_all(corpus)


def test_few_tasks_are_under_way_and_a_worker_that_dies_is_told() -> None:
    begun = 0

    def tasks() -> Iterator[int]:
        nonlocal begun
        for begun in range(1, 41):  # noqa: B007
            yield -begun

    for ended, result in enumerate(in_order(abs, tasks(), 2), 1):
        assert result == ended and begun - ended <= 4
    with pytest.raises(BrokenProcessPool):
        list(in_order(os._exit, [3], 2))


def test_the_command_mines_counts_and_says_what_is_wrong(corpus: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, left = tmp_path / "mined.jsonl", tmp_path / "left.jsonl"
    left.write_text(json.dumps({"table_page_title": "Page 5"}))
    arguments = [*map(str, corpus), "--out", str(out), "--workers", "1"]
    assert command.main([*arguments, "--leave-out", str(left)]) == 0
    said = capsys.readouterr().out
    assert "mined    40 sentences" in said and "1 tables left out by title" in said and "refused  2 documents or tables" in said
    assert len(list(read_rows(out))) == 40
    assert [row["row"] for row in read_rows(tmp_path / "mined.jsonl.refused.jsonl")] == [21, 2]
    (tmp_path / "x.csv").write_text("a")
    (tmp_path / "x.jsonl").write_text("{}")
    (tmp_path / "cut.tar.gz").write_bytes(corpus[1].read_bytes()[:200])
    new = ["--workers", "1", "--out", str(tmp_path / "new.jsonl")]
    for wrong, says in (
        (arguments, "mined.jsonl exists; --overwrite replaces it"),
        ([*arguments[:2], "--workers", "1", "--out", str(corpus[0])], "is a file to mine"),
        ([*arguments[:2], "--out", str(tmp_path / "none" / "x")], "its folder is not there"),
        ([str(tmp_path / "x.csv"), *new], "must end with one of .tar"),
        ([str(tmp_path / "none.html"), *new], "there is no such file"),
        ([str(tmp_path / "x.jsonl"), *new], "no table with text about it in .*row 1: not of this format"),
        ([str(tmp_path / "cut.tar.gz"), *new], "cut.tar.gz: row 1: not a tar archive"),
        ([str(corpus[0]), *new, "--leave-out", str(tmp_path / "x.jsonl")], "x.jsonl: row 1: neither 'table_page_title' nor 'page'"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            command.main(wrong)
        assert ended.value.code == 2
        assert re.search(says, capsys.readouterr().err, re.DOTALL), says
        assert not (tmp_path / "new.jsonl").exists()


# The labelled sheet


def test_two_readers_sheets_give_a_bound_and_their_agreement(tmp_path: Path) -> None:
    text = " ".join(f"Mara Velling coached the Hawks in season {number}." for number in range(9))
    rows, _ = mined(text)
    rows[0]["sentence"] = "=1+1"
    write_sheet(draw(rows, 6, 1), tmp_path / "sheet.csv")
    assert draw(rows, 6, 1) == draw(rows, 6, 1) != draw(rows, 6, 2)
    with pytest.raises(ValueError, match="line 3: states_fact is '', neither yes nor no|line 2"):
        read_labels(tmp_path / "sheet.csv")
    sheet = (tmp_path / "sheet.csv").read_text().replace("\r\n", "\n")
    assert '\n="' not in sheet and ",=1" not in sheet
    for name, labels in (("a", ["yes"] * 5 + ["no"]), ("b", ["yes"] * 4 + ["no"] * 2)):
        (tmp_path / f"{name}.csv").write_text("id,states_fact\n" + "\n".join(f"{n},{label}" for n, label in enumerate(labels)))
    found = agree(tmp_path / "a.csv", tmp_path / "b.csv")
    assert (
        found["sentences"] == 6 and found["apart"] == ["4"] and found["states the fact"]["both"]["share"] == pytest.approx(4 / 6, abs=1e-4)
    )
    with pytest.raises(ValueError, match="not of the same sentences"):
        (tmp_path / "c.csv").write_text("id,states_fact\n9,yes\n")
        agree(tmp_path / "a.csv", tmp_path / "c.csv")


def test_wilson_and_kappa_are_those_of_scipy_and_scikit_learn() -> None:
    from scipy.stats import binomtest
    from sklearn.metrics import cohen_kappa_score

    for right, total in ((0, 5), (32, 40), (50, 50), (1, 1000)):
        other = binomtest(right, total).proportion_ci(method="wilson")
        ours = wilson(right, total)
        assert (ours.low, ours.high) == pytest.approx((other.low, other.high), abs=1e-9)
    one, two = list("yynnyynyyn"), list("ynnnyyyyyn")
    assert cohen_kappa(one, two) == pytest.approx(cohen_kappa_score(one, two))
    assert cohen_kappa(["y", "y"], ["y", "y"]) == 1.0


@pytest.mark.fault
def test_workers_of_a_run_that_is_killed_end_with_it() -> None:
    code = "import time\nfrom factloop.tables.corpus import in_order\nif __name__ == '__main__': list(in_order(time.sleep, [0] * 8 + [60] * 9, 2))"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as run:
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        while len(workers := children.read_text().split()) < 3:  # two, and what cleans up after them
            time.sleep(0.1)
        time.sleep(3)  # until they have begun
        run.kill()
    until = time.monotonic() + 20
    while left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until, left
        time.sleep(0.1)
