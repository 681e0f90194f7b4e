"""Cells of a table in a sentence: all of them in one pass (Aho and Corasick 1975), in whole words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

STOP_VALUES = {"yes", "no", "none", "unknown", "n/a", "tbd", "total", "the", "and"}
# Scripts that set no spaces between words. (Katakana does not: a name in it within a longer one is another name.)
UNSPACED = re.compile(r"[\u3005-\u3007\u3040-\u309f\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
# What makes another number of a number: more digits beyond a point, comma, colon or slash; a sign; the end of a season.
NUMBER_BEFORE = re.compile(r"(?:\d[.,:/]|(?:^|\s)[-\u2212])$")
NUMBER_AFTER = re.compile(r"[.,:/]\d|[-\u2013/]\d\d(?!\d)")


def is_evidence(cell: str) -> bool:
    """Whether finding this cell in a sentence means anything: not a short or common value."""
    text = cell.strip()
    return len(text) >= 3 and not re.fullmatch(r"\d{1,2}", text) and text.lower() not in STOP_VALUES


def lowered(text: str) -> str:
    """Small letters, at the same positions: the few letters whose small form is longer stay."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def is_whole(text: str, begin: int, end: int) -> bool:
    """Whether what stands there is no part of a longer word or number."""
    if _joined(text[begin - 1 : begin], text[begin]) or _joined(text[end - 1], text[end : end + 1]):
        return False
    if text[begin].isdigit() and NUMBER_BEFORE.search(text[max(0, begin - 2) : begin]):
        return False
    return not (text[end - 1].isdigit() and NUMBER_AFTER.match(text, end))


def _joined(left: str, right: str) -> bool:
    """Whether two neighbouring characters are of one word."""
    if not left or not right or not _in_word(left) or not _in_word(right):
        return False
    return not (UNSPACED.match(left) or UNSPACED.match(right))


def _in_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")  # accents of their own


def find_cell(cell: str, sentence: str) -> tuple[int, int] | None:
    """Character span of the cell's first occurrence in whole words, both given in small letters."""
    begin = sentence.find(cell) if cell else -1
    while begin >= 0:
        end = begin + len(cell)
        if is_whole(sentence, begin, end):
            return begin, end
        begin = sentence.find(cell, begin + 1)
    return None


class Hit(NamedTuple):
    """A value of the table in a sentence."""

    begin: int
    end: int
    value: str
    """In small letters."""


class CellIndex:
    """The cells of a table that are evidence, to be found in any number of sentences."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        import ahocorasick

        self.places: dict[str, list[tuple[int, int]]] = {}
        """By value in small letters: the (row, column) that have it."""
        for number, row in enumerate(rows):
            for column, cell in enumerate(row):
                if is_evidence(cell):
                    self.places.setdefault(lowered(cell.strip()), []).append((number, column))
        self._automaton: Any = ahocorasick.Automaton()
        for value in self.places:
            self._automaton.add_word(value, value)
        self._automaton.make_automaton()

    def hits(self, sentence: str) -> list[Hit]:
        """Every occurrence of a value in whole words, overlapping ones too; but not as a label, with a colon after it."""
        if not self.places:
            return []
        small = lowered(sentence)
        found = []
        for last, value in self._automaton.iter(small):
            begin = last + 1 - len(value)
            if is_whole(small, begin, last + 1) and small[last + 1 : last + 2] != ":":
                found.append(Hit(begin, last + 1, value))
        return found
