"""Tables as model input."""

from __future__ import annotations

from collections.abc import Sequence

from ..seq2seq import COL, ROW, SEP


def linearise(question: str, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Question, then the table: title, header and rows, with special tokens between cells."""
    parts: list[str] = [question, SEP, title]
    for line in (header, *rows):
        parts.append(ROW)
        for cell in line:
            parts += [cell, COL]
    return parts


def entries(sentence: str, values: Sequence[str]) -> list[str]:
    """Input of the table question generator: a sentence and the table entries that it states."""
    parts: list[str] = [sentence]
    for value in values:
        parts += [SEP, value]
    return parts
