"""Find the sentences of a page that state cells of its table.

A sentence states a row if it holds at least two cells of it: in whole words, of different
columns and values, apart from each other, at least one with a letter. It is mined if exactly one row
is stated, or if several are and each of them by words that no other has; and only for rows that it names, by
their cell in the column that tells rows apart, a single one at its very beginning, as what it is about. Where
cells link to passages, only the rows that link to the sentence's passage come into question. See docs/mining.md.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..settings import MiningSettings
from .matching import CellIndex, Hit, lowered
from .sentences import sentence_spans

LETTER = re.compile(r"[^\W\d_]")
ONE, SEVERAL = "one row", "several rows"
NAMED = 0.5  # share of the rows that a column must tell from all others, for it to name them


class Stated(NamedTuple):
    """A cell and where the sentence states it."""

    begin: int
    end: int
    column: int


Rows = dict[int, list[Stated]]
"""By row, the cells of it that a sentence states."""


def naming_column(rows: Sequence[Sequence[str]]) -> int | None:
    """The first column whose cells, most of them, have a letter and are like no other cell of it: what its rows are about."""
    for column, cells in enumerate(zip(*rows, strict=True)):
        alike = Counter(lowered(cell.strip()) for cell in cells)
        if sum(count == 1 and bool(LETTER.search(value)) for value, count in alike.items()) >= NAMED * len(rows):
            return column
    return None


def stated_rows(index: CellIndex, hits: list[Hit]) -> Rows:
    """The rows that at least two cells are stated of, their cells in order of the sentence; longer cells first choice."""
    if len(hits) < 2:
        return {}
    by_row: dict[int, list[tuple[Hit, int]]] = defaultdict(list)
    for hit in sorted(hits, key=lambda hit: (hit.begin - hit.end, hit.begin)):
        for row, column in index.places[hit.value]:
            by_row[row].append((hit, column))
    found = {}
    for row, cells in sorted(by_row.items()):
        chosen: dict[str, Stated] = {}
        for hit, column in cells:
            apart = all(hit.end <= other.begin or hit.begin >= other.end for other in chosen.values())
            if apart and hit.value not in chosen and all(column != other.column for other in chosen.values()):
                chosen[hit.value] = Stated(hit.begin, hit.end, column)
        if len(chosen) >= 2 and any(LETTER.search(value) for value in chosen):
            found[row] = sorted(chosen.values())
    return found


def without_contained(sentence: str, rows: Rows) -> Rows:
    """Without cells whose words another stated cell of the row has too (`Paris` beside `Paris, Texas`), and the rows not stated then."""
    found = {}
    for row, cells in rows.items():
        words = [sentence[cell.begin : cell.end].lower() for cell in cells]
        kept = [cell for cell, own in zip(cells, words, strict=True) if not any(own in other for other in words if other != own)]
        if len(kept) >= 2 and any(LETTER.search(sentence[cell.begin : cell.end]) for cell in kept):
            found[row] = kept
    return found


def told_apart(rows: Rows) -> Rows:
    """Several rows of which each is stated by words that none of the others is; empty if there are not.

    A row whose cells are all stated of another, which has more, is taken to be not meant.
    """
    spans = {row: {(cell.begin, cell.end) for cell in cells} for row, cells in rows.items()}
    meant = [row for row in rows if not any(spans[row] < other for other in spans.values())]
    own = [spans[row].difference(*(spans[other] for other in meant if other != row)) for row in meant]
    return {row: rows[row] for row in meant} if len(meant) > 1 and all(own) else {}


def parts_of(page: Mapping[str, Any]) -> Iterator[tuple[str | None, list[int] | None, int, int]]:
    """(name, rows that link to it, begin, end) of the passages of a page's text; one of no name if there are none."""
    if "passages" not in page:
        yield None, None, 0, len(page["text"])
    for passage in page.get("passages", ()):
        yield passage["name"], passage.get("rows"), *passage["span"]


def choose(sentence: str, rows: Rows, linking: Collection[int] | None, naming: int | None, settings: MiningSettings) -> tuple[str, Rows]:
    """What becomes of a sentence that states rows: its kind and the rows it is mined for, or why it is dropped, and none."""
    if linking is not None:
        rows = {row: cells for row, cells in rows.items() if row in linking}
    if not rows:
        return "the row does not link to the passage", {}
    if not settings.shortest <= len(sentence.split()) <= settings.longest:
        return "too short or too long", {}
    rows = {row: cells for row, cells in rows.items() if any(cell.column == naming for cell in cells)}
    if not rows:
        return "the row is not named", {}
    if len(rows) > 1 and not (rows := told_apart(rows)):
        return "several rows, not told apart", {}
    several = len(rows) > 1
    if (
        settings.begins_with_name
        and not several
        and not any(cell.column == naming and len(sentence[: cell.begin].split()) <= 1 for cell in next(iter(rows.values())))
    ):
        return "it does not begin with the row's name", {}
    clean = without_contained(sentence, rows)
    if len(clean) < len(rows):
        return "a cell within another", {}
    return SEVERAL if several else ONE, clean


def mine(page: Mapping[str, Any], settings: MiningSettings, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """Rows with sentence, kind, and cells (row, column, value, character span in the sentence) of one page.

    Tables, sentences, those that state a row, and what became of them are added to `counts`.
    """
    index, naming = CellIndex(page["rows"]), naming_column(page["rows"])
    position = 0
    before = counts["stating"]
    for name, linking, begin, end in parts_of(page):
        origin = "own text" if linking is None else "linked passages"
        for first, last in sentence_spans(page["text"], begin, end):
            sentence = page["text"][first:last]
            position += 1
            counts[f"sentences.{origin}"] += 1
            rows = stated_rows(index, index.hits(sentence))
            if not rows:
                continue
            _count(counts, rows, origin, linking)
            fate, chosen = choose(sentence, rows, linking, naming, settings)
            counts[f"{'mined' if chosen else 'dropped'}.{fate}"] += 1
            if chosen:
                counts[f"mined from {origin}.{fate}"] += 1
                yield {
                    "id": f"{page['id']}/sentence-{position}",
                    "table": page["id"],
                    **{field: page[field] for field in ("page", "title", "header", "rows")},
                    "sentence": sentence,
                    "kind": fate,
                    "cells": _cells(page, chosen),
                    "passage": name,
                    "place": [first, last],
                }
    counts["tables"] += 1
    counts["tables.stated"] += counts["stating"] > before


def _cells(page: Mapping[str, Any], rows: Rows) -> list[dict[str, Any]]:
    return [
        {"row": row, "column": cell.column, "value": page["rows"][row][cell.column], "span": [cell.begin, cell.end]}
        for row, cells in rows.items()
        for cell in cells
    ]


def _count(counts: Counter[str], rows: Rows, origin: str, linking: Collection[int] | None) -> None:
    counts["stating"] += 1
    counts[f"stating.{origin}"] += 1
    counts[f"stating.{origin}.one row"] += len(rows) == 1
    counts[f"stating.{origin}.three cells"] += max(map(len, rows.values())) >= 3
    counts[f"stating.{origin}.linking row"] += linking is not None and any(row in linking for row in rows)
