"""Find the sentences of a page that state at least two cells of one row of its table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])")
STOP_VALUES = {"yes", "no", "none", "unknown", "n/a", "tbd", "total", "the", "and"}
SHORTEST, LONGEST = 5, 60  # words of a sentence worth learning from


def is_evidence(cell: str) -> bool:
    """Whether finding this cell in a sentence means anything: not a short or common value."""
    text = cell.strip()
    return len(text) >= 3 and not re.fullmatch(r"\d{1,2}", text) and text.lower() not in STOP_VALUES


def lowered(text: str) -> str:
    """Small letters, at the same positions: the few letters whose small form is longer stay."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def find_cell(cell: str, sentence: str) -> tuple[int, int] | None:
    """Character span of the cell's first occurrence in whole words, both given in small letters."""
    begin = sentence.find(cell)
    while begin >= 0:
        end = begin + len(cell)
        if not (sentence[begin - 1 : begin].isalnum() or sentence[end : end + 1].isalnum()):
            return begin, end
        begin = sentence.find(cell, begin + 1)
    return None


def _matches(sentence: str, row: Sequence[str]) -> list[dict[str, Any]]:
    """Non-overlapping cells of `row` that the sentence states, longest first choice, in order."""
    found: list[dict[str, Any]] = []
    small = lowered(sentence)
    for column in sorted(range(len(row)), key=lambda index: -len(row[index])):
        span = find_cell(lowered(row[column].strip()), small) if is_evidence(row[column]) else None
        if span and all(span[1] <= other["span"][0] or span[0] >= other["span"][1] for other in found):
            found.append({"column": column, "value": row[column], "span": list(span)})
    return sorted(found, key=lambda cell: cell["span"][0])


def mine(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows with sentence, row index and cells (column, value, character span) of one page.

    A sentence counts if exactly one row of the table shares two cells with it, at least one
    of them with a letter; where several rows do, nothing says which of them is meant.
    """
    for position, sentence in enumerate(SENTENCE.split(page["text"])):
        if not SHORTEST <= len(sentence.split()) <= LONGEST:
            continue
        stated = []
        for index, row in enumerate(page["rows"]):
            cells = _matches(sentence, row)
            if len(cells) >= 2 and any(re.search(r"[^\W\d]", cell["value"]) for cell in cells):
                stated.append((index, cells))
        if len(stated) == 1:
            yield {
                "id": f"{page['id']}/sentence-{position}",
                "page": page["id"],
                "title": page["title"],
                "header": page["header"],
                "rows": page["rows"],
                "sentence": sentence,
                "row": stated[0][0],
                "cells": stated[0][1],
            }
