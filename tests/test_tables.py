"""The grammar's answers are right or not given; what is cut of a table is not what matters."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from benchmarks.grammar import agrees, expected
from factloop.tables.execute import execute, read_columns
from factloop.tables.grammar import ANSWERS, RULES, GrammarError, load_grammar
from factloop.tables.questions import draw_questions
from factloop.tables.values import Headers, column, dated, number

pytestmark = pytest.mark.unit

TABLE = {
    "title": "Clubs",
    "header": ["Club", "City", "Founded", "Capacity", "First match", "Change"],
    "rows": [
        ["Hawks[1]", "Ulm", "1901", "1,200", "12 May 1902", "−2.5%"],
        ["Rams", "Bonn", "1888", "950", "1999-02-03", "4.0%"],
        ["Owls", "Ulm", "1950", "10,400", "June 7, 1951", "0.5%"],
        ["Bears", "Kiel", "1921", "2,300", "Sept. 3, 1922", "12%"],
    ],
}
FRAME = pd.DataFrame(TABLE["rows"])


# Cells


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,200", "1200"), ("-2.5", "-2.5"), ("−3 km", "-3"), ("$5.20", "5.2"), ("-€7", "-7"), ("12%", "12"), (".305", "0.305"), ("+4", "4"),
        ("1,20", None), ("12,5", None), ("007", None), ("3-2", None), ("1990–91", None), ("5½", None), ("(5)", None), ("12:30", None),
        ("1st", None), ("5 May", None), ("7 pm", None), ("1 200", None), ("", None), ("44 BC", None), ("6 ft 2 in", None), ("-", None), ("٣", None),
    ],
)  # fmt: skip
def test_numbers_are_read_where_they_can_be_one_number_only(text: str, value: str | None) -> None:
    read = number(text)
    assert (str(read.value.normalize()) if read else None) == (str(read.value.__class__(value).normalize()) if read and value else None)
    assert (read is None) == (value is None)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("12 May 1998", "1998-05-12 1998-05-12"), ("May 12 , 1998", "1998-05-12 1998-05-12"), ("Sunday, 3rd of Sept. 1922", "1922-09-03 1922-09-03"),
        ("1998-05-12", "1998-05-12 1998-05-12"), ("Feb 2000", "2000-02-01 2000-02-29"), ("1998", "1998-01-01 1998-12-31"),
        ("05/12/1998", None), ("31 June 1998", None), ("May 12", None), ("1998-13-01", None), ("0998", None), ("1990s", None), ("1998-99", None),
    ],
)  # fmt: skip
def test_dates_are_read_where_they_can_be_one_date_only(text: str, span: str | None) -> None:
    read = dated(text)
    assert (f"{read.first} {read.last}" if read else None) == span


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["5 km", "300 m"], False), (["5 km", "7 km[2]"], True), (["1.500", "950"], False), (["0.500", "1.250"], True), (["5", "—"], False),
        (["5%", "6"], False), (["1990", "1991"], False), (["1990", "12"], True),
    ],
)  # fmt: skip
def test_a_column_is_numbers_only_as_a_whole_and_in_one_unit(cells: list[str], numbers: bool) -> None:
    assert (column("Amount", cells).numbers is not None) == numbers


def test_the_header_says_what_digits_are() -> None:
    headers = Headers(frozenset({"year"}), frozenset({"rank"}), frozenset({"age"}))
    assert column("Year", ["1990", "1991"], headers).spans and not column("Seats", ["1990", "1991"], headers).spans
    assert column("Rank", ["1", "2"], headers).numbers is None
    assert column("Seats", ["10", "20"], headers).adds and not column("Age", ["10", "20"], headers).adds


# Questions


def form(
    answer: str, take: str, select: int | None, *where: tuple[int, str, list[str]], by: int | None = None, rank: int = 1
) -> dict[str, Any]:
    conditions = [{"column": at, "is": kind, "values": values} for at, kind, values in where]
    return {"answer": answer, "take": take, "select": select, "where": conditions, "by": by, "rank": rank}


EXECUTED = [
    (form("cell", "only", 1, (0, "equal", ["hawks"])), "Ulm"),
    (form("cell", "only", 0, (1, "equal", ["Ulm"])), None),  # two of them
    (form("cell", "only", 0, (1, "equal", ["Ulm"]), (3, "greater", ["1,200"])), "Owls"),
    (form("cell", "only", 0, (3, "less", ["1,200"])), "Rams"),
    (form("cell", "only", 0, (3, "between", ["1,200", "10,400"])), "Bears"),
    (form("cell", "only", 0, (2, "before", ["1901"])), "Rams"),
    (form("cell", "only", 0, (4, "after", ["7 June 1951"])), "Rams"),
    (form("cell", "only", 0, (4, "after", ["1951"])), None),  # June 7, 1951 is in it
    (form("cell", "highest", 0, by=3), "Owls"),
    (form("cell", "lowest", 0, by=5), "Hawks[1]"),
    (form("cell", "highest", 0, by=3, rank=2), "Bears"),
    (form("cell", "earliest", 0, by=2, rank=3), "Bears"),
    (form("cell", "latest", 0, by=4), "Rams"),
    (form("cell", "last", 0), "Bears"),
    (form("count", "all", None, (1, "equal", ["Ulm"])), "2"),
    (form("sum", "all", 3, (1, "equal", ["Ulm"])), "11,600"),
    (form("sum", "all", 5), None),  # percentages do not add up
    (form("difference", "all", 3, (0, "each", ["Owls", "Hawks"])), "9,200"),
    (form("time", "all", 4, (0, "each", ["Hawks", "Bears"])) | {"unit": "days"}, "7419"),
    (form("time", "all", 2, (0, "each", ["Hawks", "Bears"])) | {"unit": "years"}, "20"),
]


@pytest.mark.parametrize(("asked", "answer"), EXECUTED)
def test_forms_are_executed(asked: dict[str, Any], answer: str | None) -> None:
    assert execute(asked, read_columns(TABLE["header"], TABLE["rows"], load_grammar())) == answer


@pytest.mark.parametrize(
    ("more", "gone"),
    [
        (["Eagles", "Kiel", "1950", "10,400", "1 May 1960", "1%"], form("cell", "highest", 0, by=3)),  # a tie
        (["Rams", "Jena", "1960", "1", "1 May 1960", "1%"], form("cell", "only", 1, (0, "equal", ["Rams"]))),
        (["rams [ a ]", "Jena", "1960", "1", "1 May 1960", "1%"], form("cell", "only", 1, (0, "equal", ["Rams"]))),
        (["Total", "", "", "14,850", "", ""], form("cell", "last", 0)),
        (["(Total: all)", "", "", "14,850", "", ""], form("cell", "last", 0)),
        (["Rams", "Bonn", "1888", "950", "3 Feb 1999", "4.0%"], form("count", "all", None, (1, "equal", ["Ulm"]))),  # a row twice
        (["Club", "City", "Founded", "Capacity", "First match", "Change"], form("cell", "first", 0)),
        (["South"] * 6, form("cell", "first", 0)),
    ],
)
def test_what_has_more_than_one_answer_is_not_asked(more: list[str], gone: dict[str, Any]) -> None:
    grammar = load_grammar()
    assert execute(gone, read_columns(TABLE["header"], TABLE["rows"], grammar)) is not None
    assert execute(gone, read_columns(TABLE["header"], [*TABLE["rows"], more], grammar)) is None


def test_every_question_agrees_with_pandas_and_all_rules_are_drawn() -> None:
    drawn = [item for seed in range(120) for item in draw_questions(TABLE, random.Random(seed), 8, ANSWERS)]
    for item in {(item["rule"], item["short_answer"]): item for item in drawn}.values():
        assert agrees(expected(item["form"], FRAME), item["short_answer"], item["form"]["answer"]), item
        assert "{" not in item["question"] and "[1]" not in item["question"]
    assert {item["rule"] for item in drawn} == {rule.name for rule in load_grammar().rules}


def test_the_benchmarks_executor_notices_wrong_answers() -> None:
    drawn = draw_questions(TABLE, random.Random(1), 8, ANSWERS)
    assert not any(agrees(expected(item["form"], FRAME), "no such answer 77", item["form"]["answer"]) for item in drawn)


def test_questions_follow_the_seed_and_by_default_cells_answer_them() -> None:
    drawn = draw_questions(TABLE, random.Random(3), 12)
    assert drawn == draw_questions(TABLE, random.Random(3), 12) != draw_questions(TABLE, random.Random(4), 12)
    assert len({item["question"] for item in drawn}) == 12
    assert {item["short_answer"] for item in drawn} <= {cell for row in TABLE["rows"] for cell in row}
    assert draw_questions(TABLE | {"header": ["", "a", "a", "A ", "", ""]}, random.Random(0), 3) == []
    assert draw_questions({"header": ["a", "b"], "rows": []}, random.Random(0), 3) == []


# The grammar file


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"weight": -1}, "weight is -1, not a number from 0"),
        ({"wheer": []}, r"it has \['wheer'\]; its fields are"),
        ({"where": ["like"]}, r"where is \['like'\]; it is a list of at most two of equal, greater"),
        ({"take": "any"}, "take is 'any'; it is one of only, first"),
        ({"answer": "sum"}, "answer is sum and take is only"),
        ({"where": []}, "take is only, and nothing in where"),
        ({"where": ["each"]}, r"answer is cell and where is \['each'\]"),
        ({"ranks": [2]}, "ranks from 2 go with highest"),
        ({"ranks": [0]}, "whole numbers from 1 to 10"),
        ({"phrases": []}, "a list of one text or more"),
        ({"phrases": ["what is {select}?"]}, r"must name \['column', 'select', 'value'\]; it lacks \['column', 'value'\]"),
        ({"phrases": ["{select} {column} {value} {valu}"]}, r"has \['valu'\] beside"),
        ({"phrases": ["{select} {column} {value} {"]}, "a brace without its other"),
        (None, "it has None"),
    ],
)
def test_a_wrong_rule_is_refused_with_file_rule_and_problem(rule: dict[str, Any] | None, says: str, tmp_path: Path) -> None:
    good = {"weight": 1, "where": ["equal"], "take": "only", "answer": "cell", "phrases": ["{select} {column} {value}"]}
    content = {"rules": {"mine": good}, "reading": {"years": [], "names": [], "no_sums": []}, "summary_rows": []}
    path = tmp_path / "good.yaml"
    path.write_text(yaml.safe_dump(content))
    assert load_grammar(path).rules[0].name == "mine"
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(content | {"rules": {"mine": rule and good | rule}}))
    with pytest.raises(GrammarError, match=f"^{re.escape(str(path))}: rule mine: .*{says}"):
        load_grammar(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules: [", "not YAML"),
        ("[]", "has the parts"),
        ("rules: {}", "has the parts"),
        (RULES.read_text().replace('"no"', "no"), "names: a list of words"),
    ],
)
def test_a_file_that_is_no_grammar_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(GrammarError, match=says):
        load_grammar(tmp_path / "g.yaml")
