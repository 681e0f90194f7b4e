"""Pairs to judge, and the order in which each rater sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..corpora.rows import Row

AXES = {
    "consistency": "factual consistency",
    "informativeness": "informativeness",
    "grammar": "grammar",
}
"""What is asked of each pair: its name in files, and in words."""


@dataclass(frozen=True)
class Pair:
    id: str
    example: str
    """Of the test set."""
    document: str
    summaries: tuple[str, str]
    """Of the first system and of the second."""


@dataclass(frozen=True)
class Sheet:
    """What one rater is shown: the pairs in an order, each with the place (0 or 1) of the system that stands first."""

    rater: int
    order: tuple[tuple[str, int], ...]


def blind_pairs(first: Sequence[Row], second: Sequence[Row], count: int, seed: int) -> tuple[list[Pair], int]:
    """At most `count` pairs drawn by seed from those in which two systems differ, and the number in which they do not.

    Rows have id, document and output. Raises ValueError where they are not of the same examples, or all outputs are alike.
    """
    sides = [{(row["id"], row["document"]): row["output"] for row in rows} for rows in (first, second)]
    if sides[0].keys() != sides[1].keys():
        alone = [len(sides[i].keys() - sides[1 - i].keys()) for i in (0, 1)]
        raise ValueError(
            f"not the same test examples: {len(sides[0])} against {len(sides[1])}; {alone[0]} and {alone[1]} of them are only on one side"
        )
    unlike = [key for key, output in sides[0].items() if output.split() != sides[1][key].split()]
    if not unlike:
        raise ValueError(f"the two wrote the same of all {len(sides[0])} test examples: there is nothing to judge")
    chosen = sorted(_random(seed, "pairs", [sides[0][key] + sides[1][key] for key in unlike]).permutation(len(unlike))[:count])
    width = len(str(len(chosen)))
    pairs = []
    for place, index in enumerate(chosen, 1):
        example, document = key = unlike[index]
        pairs.append(Pair(f"p{place:0{width}}", example, document, (sides[0][key], sides[1][key])))
    return pairs, len(sides[0]) - len(unlike)


def sheets(pairs: Sequence[Pair], raters: int, seed: int) -> list[Sheet]:
    """An order of its own for each rater, in which each system stands first in half of the pairs."""
    found = []
    for rater in range(1, raters + 1):
        random = _random(seed, f"rater {rater}", [text for pair in pairs for text in pair.summaries])
        firsts = random.permutation(np.arange(len(pairs)) + random.integers(2)) % 2
        found.append(Sheet(rater, tuple((pairs[place].id, int(firsts[place])) for place in random.permutation(len(pairs)))))
    return found


def _random(seed: int, use: str, texts: Sequence[str]) -> np.random.Generator:
    """Seeded by the texts too, so that knowing the seed does not tell a rater the order."""
    found = hashlib.sha256("\0".join([use, *texts]).encode(errors="surrogatepass")).digest()
    return np.random.default_rng([seed, int.from_bytes(found[:8], "big")])
