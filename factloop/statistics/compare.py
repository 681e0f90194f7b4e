"""Two systems on the same examples: paired differences per metric, and what they show together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .bootstrap import Statistic
from .paired import LEVEL, Array, Difference, of_shares, shares

LOWER_IS_BETTER = {"hallucination_rate"}
Shown = Literal["better", "worse", "not shown"]


def example_shares(candidate: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> dict[str, Array]:
    """Each example's share in candidate - other, [examples], for every metric that both have; NaN where either has no score.

    Of per-example rows (`scores`, `bleu_statistics`, `meteor_statistics`). Raises ValueError where
    they are not of the same examples in the same order. Of what is scored as a whole (BLEU, METEOR)
    the share is a pseudo-value.
    """
    ids = [[row["id"] for row in rows] for rows in (candidate, other)]
    if ids[0] != ids[1]:
        differing = sum(a != b for a, b in zip(*ids, strict=False)) + abs(len(ids[0]) - len(ids[1]))
        raise ValueError(f"not the same test examples: {len(ids[0])} against {len(ids[1])}, {differing} of them differ")
    from ..judges import bleu, meteor

    found: dict[str, Array] = {}
    for name in candidate[0]["scores"]:
        sides = [np.array([row["scores"].get(name) for row in rows], dtype=float) for rows in (candidate, other)]
        if not np.isnan(sides[0] - sides[1]).all():
            found[name] = sides[0] - sides[1]
    whole: tuple[tuple[str, Statistic], ...] = (("bleu", bleu), ("meteor", meteor))
    for name, statistic in whole:
        if all(f"{name}_statistics" in rows[0] for rows in (candidate, other)):
            tables = [shares([row[f"{name}_statistics"] for row in rows], statistic) for rows in (candidate, other)]
            found[name] = tables[0] - tables[1]
    return found


def compare_examples(candidate: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> dict[str, Difference]:
    """candidate - other for every metric of `example_shares`. An example without a score on either side counts on neither."""
    return {name: of_shares(found[~np.isnan(found)]) for name, found in example_shares(candidate, other).items()}


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
