"""Tables as model input."""

from __future__ import annotations

from collections.abc import Sequence

from ..seq2seq import COL, LINK, ROW, SEP
from .matching import find_cell, lowered


def linearise(question: str, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Question, then the table: <sep> before its title, <col> before each column's name, <row> before each row.

    Between the cells of a row stands <col>. A cell that the question names is marked by a link, as schema
    linking does for SQL (Wang et al. 2020, RAT-SQL): a small model learns to look rows up by it, and hardly without.
    """
    asked = lowered(question)
    parts: list[str] = [question, SEP, title]
    for name in header:
        parts += [COL, name]
    for line in rows:
        parts += row_parts(asked, line)
    return parts


def row_parts(asked: str, line: Sequence[str]) -> list[str]:
    """One row of the input, for a question in small letters."""
    parts: list[str] = []
    for cell in line:
        named = len(cell) > 1 and find_cell(lowered(cell.strip()), asked)
        parts += [COL if parts else ROW, *([LINK] if named else []), cell]
    return parts


def entries(sentence: str, values: Sequence[str]) -> list[str]:
    """Input of the table question generator: a sentence and the table entries that it states."""
    parts: list[str] = [sentence]
    for value in values:
        parts += [SEP, value]
    return parts
