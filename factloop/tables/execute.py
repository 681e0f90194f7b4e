"""Logical forms of questions executed on a table, so that an answer is right by construction.

A form says which rows are meant and what is asked of them. One whose answer is not unique (ties, rows or
values that occur twice, dates of which one contains the other) has none. Where rows add up others, nothing
that goes over all rows has an answer. Columns without a name or of the same name cannot be asked about.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .grammar import BY_NUMBER, NUMERIC, Grammar
from .values import Column, Span, column, dated, is_missing, number, plain, time_between, written

Form = dict[str, Any]
"""answer, take, select, where (list of {column, is, values}), by, rank: columns by index, values as in the question."""

LONGEST = 80  # characters of a cell that is asked for or asked about
CALENDAR = 1753  # days are counted from here on: before, countries had different calendars


@dataclass(frozen=True)
class Reading:
    """A table as the grammar reads it."""

    columns: tuple[Column, ...]
    cells: tuple[tuple[str, ...], ...]
    """Column by column, as written."""
    named: tuple[int, ...]
    """Columns that a question can name."""
    whole: bool
    """Whether every row is one record, so that a rule may go over all of them."""

    @property
    def height(self) -> int:
        return len(self.cells[0])


def read_columns(header: Sequence[str], rows: Sequence[Sequence[str]], grammar: Grammar) -> Reading:
    """Read header and rows, all of one width, at least one row."""
    cells = tuple(zip(*rows, strict=True))
    names = [plain(name).rstrip(":").strip() for name in header]
    columns = tuple(column(name, line, grammar.headers) for name, line in zip(names, cells, strict=True))
    count = Counter(name.casefold() for name in names)
    known = [bool(name) and not is_missing(name) and len(name) <= LONGEST for name in names]
    named = tuple(index for index, name in enumerate(names) if known[index] and count[name.casefold()] == 1)
    return Reading(columns, cells, named, not any(_summary(header, row, grammar) for row in rows))


def _summary(header: Sequence[str], row: Sequence[str], grammar: Grammar) -> bool:
    """Whether a row is none of its own: it adds up others, repeats the header, or one cell spans it."""
    texts = [plain(cell).casefold() for cell in row]
    if len(row) > 1 and (len(set(texts)) == 1 or texts == [plain(name).casefold() for name in header]):
        return True
    first = [re.match(r"\W*([\w-]+)", text) for text in texts]
    return any(word and word[1] in grammar.summaries for word in first)


def execute(form: Form, reading: Reading) -> str | None:
    """The answer of a form; None where it has none, or not one only."""
    if not reading.whole and (form["take"] != "only" or any(part["is"] != "equal" for part in form["where"])):
        return None
    if form["answer"] in ("difference", "time"):
        return _lying_between(form, reading)
    kept: list[int] = list(range(reading.height))
    for part in form["where"]:
        found = matching(part, reading, kept)
        if found is None:
            return None
        kept = found
    if form["answer"] == "count":
        return str(len(kept)) if kept and not _repeated(reading) else None
    if form["answer"] == "sum":
        return None if _repeated(reading) else _total(form, reading, kept)
    row = _taken(form, reading, kept)
    return None if row is None else _answer_cell(reading, row, form["select"])


def _answer_cell(reading: Reading, row: int, select: int) -> str | None:
    cell = reading.cells[select][row].strip()
    return cell if not is_missing(plain(cell)) and len(cell) <= LONGEST else None


def _repeated(reading: Reading) -> bool:
    """Whether a row occurs twice: nobody can tell if it counts twice."""
    return len(set(zip(*(column.keys for column in reading.columns), strict=True))) < reading.height


def matching(part: dict[str, Any], reading: Reading, kept: Sequence[int]) -> list[int] | None:
    """Of the rows `kept` those that a condition holds for; None where it is not clear for one of them."""
    asked, kind = reading.columns[part["column"]], part["is"]
    if kind == "equal":
        key = column("", part["values"]).keys[0]
        if isinstance(key, Span) and any(key.touches(other) and key != other for other in asked.keys if isinstance(other, Span)):
            return None  # "1998" may be meant to take in May 1998
        return [row for row in kept if asked.keys[row] == key]
    if kind in NUMERIC:
        bounds = [number(value) for value in part["values"]]
        if asked.numbers is None or any(bound is None for bound in bounds):
            return None
        values = [bound.value for bound in bounds if bound]
        low, high = (None, values[0]) if kind == "less" else (values[0], values[1] if kind == "between" else None)
        numbers = asked.numbers
        return [
            row for row in kept if (low is None or numbers[row].value > low) and (high is None or numbers[row].value < high)
        ]  # fmt: skip
    edges = [dated(value) for value in part["values"]]
    if asked.spans is None or any(edge is None for edge in edges):
        return None
    dates = [edge for edge in edges if edge]
    begin, end = (None, dates[0]) if kind == "before" else (dates[0], dates[1] if kind == "between_dates" else None)
    fit = []
    for row in kept:
        span = asked.spans[row]
        # A date that is not the bound and not clear of it may be on either side.
        if any(edge != span and edge.touches(span) for edge in dates):
            return None
        if (begin is None or span.first > begin.last) and (end is None or span.last < end.first):
            fit.append(row)
    return fit


def _taken(form: Form, reading: Reading, kept: Sequence[int]) -> int | None:
    """The row that a form takes of those kept."""
    take, rank = form["take"], form["rank"]
    if take == "only":
        return kept[0] if len(kept) == 1 else None
    if take in ("first", "last"):
        return (kept[0] if take == "first" else kept[-1]) if len(kept) > 1 else None
    if len(kept) <= rank:  # the last of two is not called the second highest
        return None
    by = reading.columns[form["by"]]
    if take in BY_NUMBER:
        if by.numbers is None:
            return None
        numbers = by.numbers
        order = sorted(kept, key=lambda row: numbers[row].value, reverse=take == "highest")
        clear = all(numbers[one].value != numbers[other].value for one, other in zip(order[:rank], order[1 : rank + 1], strict=True))
        return order[rank - 1] if clear else None
    if by.spans is None:
        return None
    spans = by.spans
    order = sorted(kept, key=lambda row: spans[row], reverse=take == "latest")
    steps = [(spans[one], spans[other]) for one, other in zip(order, order[1:], strict=False)]
    tied = any(one.touches(other) for one, other in steps[:rank])
    unclear = any(one != other and one.touches(other) for one, other in steps)
    return None if tied or unclear else order[rank - 1]


def _total(form: Form, reading: Reading, kept: Sequence[int]) -> str | None:
    asked = reading.columns[form["select"]]
    numbers = asked.numbers
    if numbers is None or len(kept) < 2 or not asked.adds:
        return None
    return written(sum((numbers[row].value for row in kept), Decimal(0)), [numbers[row] for row in kept])


def _lying_between(form: Form, reading: Reading) -> str | None:
    """The difference of two rows, each the only one with its value, in numbers or in time."""
    (part,) = form["where"]
    found = [matching(part | {"is": "equal", "values": [value]}, reading, range(reading.height)) for value in part["values"]]
    rows = [line[0] for line in found if line and len(line) == 1]
    if len(rows) != 2 or rows[0] == rows[1]:
        return None
    asked = reading.columns[form["select"]]
    if form["answer"] == "difference":
        if asked.numbers is None or asked.numbers[0].after == "%":
            return None
        pair = [asked.numbers[row] for row in rows]
        return written(abs(pair[0].value - pair[1].value), pair)
    if asked.spans is None or asked.spans[rows[0]].grain != form["unit"]:
        return None
    first, second = (asked.spans[row] for row in rows)
    if form["unit"] == "days" and min(first, second).first.year < CALENDAR:
        return None
    count = time_between(first, second)
    return str(count) if count else None
