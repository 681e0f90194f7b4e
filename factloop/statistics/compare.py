"""Two systems on the same examples: paired differences per metric, and what they show together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ..metrics import corpus_bleu, corpus_meteor
from .bootstrap import Statistic
from .paired import LEVEL, Array, Difference, paired_difference, shares

LOWER_IS_BETTER = {"hallucination_rate"}
Shown = Literal["better", "worse", "not shown"]
Row = dict[str, Any]


def compare_examples(candidate: Sequence[Row], other: Sequence[Row]) -> dict[str, Difference]:
    """candidate - other for every metric that both have, of per-example rows (`scores`, `bleu_statistics`, `meteor_statistics`).

    Raises ValueError where they are not of the same examples in the same order. An example without
    a score on either side (no evidence) counts on neither.
    """
    return {name: paired_difference(*sides, statistic) for name, (sides, statistic) in _sides(candidate, other).items()}


def example_shares(candidate: Sequence[Row], other: Sequence[Row]) -> dict[str, Array]:
    """Each example's share in candidate - other, [examples], for every metric of `compare_examples`; NaN where either has no score."""
    return {name: shares(one, kind) - shares(two, kind) for name, ((one, two), kind) in _sides(candidate, other).items()}


def _sides(candidate: Sequence[Row], other: Sequence[Row]) -> dict[str, tuple[tuple[Array, Array], Statistic | None]]:
    """The values of both by metric, and the statistic of what is scored as a whole."""
    ids = [[row["id"] for row in rows] for rows in (candidate, other)]
    if ids[0] != ids[1]:
        differing = sum(a != b for a, b in zip(*ids, strict=False)) + abs(len(ids[0]) - len(ids[1]))
        raise ValueError(f"not the same test examples: {len(ids[0])} against {len(ids[1])}, {differing} of them differ")
    found: dict[str, tuple[tuple[Array, Array], Statistic | None]] = {}
    for name in candidate[0]["scores"]:
        one, two = (np.array([row["scores"].get(name) for row in rows], dtype=float) for rows in (candidate, other))
        if not np.isnan(one - two).all():
            found[name] = ((one, two), None)
    whole: tuple[tuple[str, Statistic], ...] = (("bleu", corpus_bleu), ("meteor", corpus_meteor))
    for name, statistic in whole:
        if all(f"{name}_statistics" in rows[0] for rows in (candidate, other)):
            one, two = (np.array([row[f"{name}_statistics"] for row in rows], dtype=float) for rows in (candidate, other))
            found[name] = ((one, two), statistic)
    return found


def holm(p: Mapping[Any, float]) -> dict[Any, float]:
    """P-values adjusted so that the chance of any false finding among all is kept (Holm 1979)."""
    adjusted: dict[Any, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - place) * p[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p}


def gain(name: str, difference: Difference) -> Difference:
    """The difference with more as better."""
    return difference.turned() if name in LOWER_IS_BETTER else difference


def shown(name: str, difference: Difference, p: float) -> Shown:
    """What a difference shows at an adjusted p-value: its interval must exclude 0, too.

    The interval guards where p does not: against a few large losses that many small gains hide.
    """
    better = gain(name, difference)
    if p > LEVEL or better.low <= 0 <= better.high:
        return "not shown"
    return "better" if better.value > 0 else "worse"
