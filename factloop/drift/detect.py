"""Documents, tables and judge scores compared with the champion's, part by part; and one verdict on all parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..corpora.clusters import clusters
from ..corpora.rows import Row
from ..statistics import holm
from ..tables.values import number
from .look import Unlike, Word, look
from .sketch import Sketch, sketch
from .texts import PERMUTATIONS, TextTest, test_texts
from .values import Values, ValueTest, test_values

LEVEL = 0.05
FEWEST = 50  # distinct examples of either side, below which even a whole change may go unnoticed
ENOUGH = 300  # incoming ones that show 10% from another source in nearly all tries: benchmarks/drift.py
MOST = {"incoming": 1000, "old": 4000}  # drawn of more: a test of more costs time, and shows differences that do not matter
REPEATED = 0.2  # share of incoming examples that repeat another, from which it is said


Sized = tuple[Sketch, Values]


class TooFew(ValueError):
    """Nothing can be told of so few examples."""


@dataclass(frozen=True)
class Part:
    """One thing that was tested."""

    name: str
    incoming: int
    old: int
    """How many examples of each, after repeats are taken out."""
    p: float
    effect: float
    """Of texts the share of incoming ones that stand out beyond chance; of numbers the chance that an incoming one is above an old one."""
    told: str
    """The effect in words."""


@dataclass(frozen=True)
class Drift:
    """What one comparison found, before the verdict on all."""

    parts: list[Part]
    words: list[Word] = field(default_factory=list)
    unlike: list[Unlike] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def holm_alarm(parts: Iterable[Part]) -> tuple[dict[str, float], bool]:
    """P-values corrected for all parts (Holm 1979), and whether any is at most 0.05: without drift at most 1 alarm in 20."""
    adjusted = holm({part.name: part.p for part in parts})
    return adjusted, min(adjusted.values(), default=1.0) <= LEVEL


def document_drift(incoming: Sequence[str], old: Sequence[str], seed: int = 0) -> Drift:
    """The text of documents, and their length in words; TooFew says how many it takes."""
    new, before, notes = distinct(incoming, old, "documents", seed)
    texts, past = [incoming[place] for place in new], [old[place] for place in before]
    test, parts = document_parts((sketch(texts), _lengths(texts)), (sketch(past), _lengths(past)), seed)
    return Drift(parts, *look(test, texts, past, new), notes)


def document_parts(incoming: Sized, old: Sized, seed: int = 0, permutations: int = PERMUTATIONS) -> tuple[TextTest, list[Part]]:
    """The same of documents that are known to be distinct, each side as its sketch and its lengths."""
    test = test_texts(incoming[0], old[0], seed, permutations)
    length = test_values(incoming[1], old[1], seed, permutations)
    return test, [
        _of_texts("document text", test, len(old[1])),
        _of_values("document length", length, len(incoming[1]), len(old[1]), "words"),
    ]


def _lengths(texts: Sequence[str]) -> list[float]:
    return [float(len(text.split())) for text in texts]


def table_drift(incoming: Sequence[Row], old: Sequence[Row], seed: int = 0) -> Drift:
    """Header words, cells, numbers of rows and columns, share of numbers among the cells; questions where all have one.

    Rows with title, header and rows. A table that is asked about more than once counts once, with one of its questions.
    """
    new, before, notes = distinct([" ".join(_words_of(row)) for row in incoming], [" ".join(_words_of(row)) for row in old], "tables", seed)
    sides = [incoming[place] for place in new], [old[place] for place in before]
    texts = {
        "table header": [[" | ".join([row["title"], *row["header"]]) for row in side] for side in sides],
        "table cells": [[" | ".join(cell for line in row["rows"] for cell in line) for row in side] for side in sides],
    }
    if all(row.get("question") for side in sides for row in side):
        texts["table question"] = [[row["question"] for row in side] for side in sides]
    tests = {name: test_texts(sketch(both[0]), sketch(both[1]), seed) for name, both in texts.items()}
    parts = [_of_texts(name, test, len(before)) for name, test in tests.items()]
    facts: dict[str, tuple[str, Callable[[Row], float]]] = {
        "table rows": ("rows", lambda row: float(len(row["rows"]))),
        "table columns": ("columns", lambda row: float(len(row["header"]))),
        "table numbers": ("of the cells numbers", _numeric),
    }
    for name, (unit, fact) in facts.items():
        test = test_values([fact(row) for row in sides[0]], [fact(row) for row in sides[1]], seed)
        parts.append(_of_values(name, test, len(new), len(before), unit))
    first = min(tests, key=lambda name: tests[name].p)
    return Drift(parts, *look(tests[first], texts[first][0], texts[first][1], new), notes)


def score_drift(incoming: Sequence[Row], old: Sequence[Row], names: Sequence[str], seed: int = 0) -> Drift:
    """Judges' scores by name of recent outputs, and of those that the champion was measured on.

    Rows with `scores`, None where a judge could say nothing; those of one document count once, where all rows have one.
    """
    notes: list[str] = []
    if all("document" in row for row in (*incoming, *old)):
        new, before, notes = distinct([row["document"] for row in incoming], [row["document"] for row in old], "documents judged", seed)
        incoming, old = [incoming[place] for place in new], [old[place] for place in before]
    _enough([len(incoming), len(old)], "outputs judged")
    sides = [{name: [row["scores"].get(name) for row in rows] for name in names} for rows in (incoming, old)]
    tests = {name: test_values(sides[0][name], sides[1][name], seed) for name in names}
    return Drift([_of_values(f"score {name}", test, len(incoming), len(old), name) for name, test in tests.items()], notes=notes)


def distinct(incoming: Sequence[str], old: Sequence[str], kind: str, seed: int) -> tuple[list[int], list[int], list[str]]:
    """Places of the examples to compare, in order, and what is to be said of them; TooFew where they are too few.

    Copies could not have come in either sample one by one, so that permuting them one by one would take ten copies of one
    text for ten texts. Of near-duplicates in both samples together one, drawn at random, stands for all.
    """
    rng = np.random.default_rng(seed)
    drawn = [_draw(rng, len(incoming), MOST["incoming"]), _draw(rng, len(old), MOST["old"])]
    notes = [
        f"{len(side)} {label} {kind} drawn of {count}"
        for label, side, count in zip(MOST, drawn, (len(incoming), len(old)), strict=True)
        if len(side) < count
    ]
    pool = [(0, place) for place in drawn[0]] + [(1, place) for place in drawn[1]]
    names = clusters([(incoming, old)[side][place] for side, place in pool])
    chosen: dict[str, tuple[int, int]] = {}
    for index in rng.permutation(len(pool)):
        chosen.setdefault(names[index], pool[index])
    kept = [sorted(place for own, place in chosen.values() if own == side) for side in (0, 1)]
    own = [name for name, (side, _) in zip(names, pool, strict=True) if side == 0]
    repeats, known = len(own) - len(set(own)), len(set(own) & set(names[len(own) :]))
    for count, told in ((repeats, "repeat other incoming ones"), (known, "are near-duplicates of old ones")):
        if count >= REPEATED * len(own):
            notes.append(f"{count} of {len(own)} incoming {kind} {told}: of near-duplicates one counts")
    _enough([len(side) for side in kept], f"distinct {kind}")
    if len(kept[0]) < ENOUGH:
        notes.append(f"{len(kept[0])} distinct {kind} show a large change; for 10% from another source it takes {ENOUGH} or more")
    return kept[0], kept[1], notes


def _draw(rng: np.random.Generator, count: int, most: int) -> list[int]:
    return sorted(rng.permutation(count)[:most].tolist())


def _enough(counts: Sequence[int], what: str) -> None:
    for label, count in zip(("incoming", "old"), counts, strict=True):
        if count < FEWEST:
            raise TooFew(
                f"{count} {label} {what}: nothing can be told of so few; it takes {FEWEST}, and {ENOUGH} to show 10% from another source"
            )


def _of_texts(name: str, test: TextTest, old: int) -> Part:
    among, first, chance = test.first
    told = f"{among} of the {first} that stand out most are incoming, chance makes {chance:.1f}"
    return Part(name, len(test.unlike), old, test.p, test.excess, told)


def _of_values(name: str, test: ValueTest, incoming: int, old: int, unit: str) -> Part:
    told = "median {:.3g} {unit}, before {:.3g}".format(*test.medians, unit=unit)
    if test.missing != (0.0, 0.0):
        told += "; without one {:.1%}, before {:.1%}".format(*test.missing)
    return Part(name, incoming, old, test.p, test.above, told)


def _words_of(row: Row) -> list[str]:
    return [row["title"], *row["header"], *(cell for line in row["rows"] for cell in line)]


def _numeric(row: Row) -> float:
    cells = [cell for line in row["rows"] for cell in line]
    return sum(number(cell) is not None for cell in cells) / max(1, len(cells))
