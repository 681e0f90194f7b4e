"""What raters said of pairs: shares with intervals, the sign test, and how far the raters agree (numpy only).

In: verdicts [examples, raters] on one axis, 1 where the first system is better, -1 where it is worse, 0 where
the two are equal; every rater has judged every example.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bootstrap import Estimate, interval

VERDICTS = {"better": 1, "worse": -1, "equal": 0}


@dataclass(frozen=True)
class SignTest:
    """How often each side was preferred, ties left out, and the two-sided p-value of an even chance."""

    better: int
    worse: int
    p: float


@dataclass(frozen=True)
class Outcome:
    """What the raters said on one axis."""

    shares: dict[str, Estimate]
    """Of the judgements: better, worse and equal."""
    majority: SignTest
    """Over examples, each by what most raters said of it."""
    judgements: SignTest
    """Over single judgements. Those of one example are not independent, so this p-value is too small."""
    kappa: Estimate | None
    """Of Fleiss; None for a single rater, and where all judgements are alike."""


def sign_test(better: int, worse: int) -> SignTest:
    """The exact binomial test of an even chance, two-sided: twice the smaller tail, at most 1."""
    count = better + worse
    tail = sum(comb(count, k) for k in range(min(better, worse) + 1)) / 2**count
    return SignTest(better, worse, min(1.0, 2 * tail))


def majority(verdicts: ArrayLike) -> NDArray[np.int64]:
    """What more than half of an example's raters said, [examples]; 0, equal, where no verdict has so many."""
    table = np.asarray(verdicts)
    most = [(table == verdict).mean(1) > 0.5 for verdict in (1, -1)]
    return np.asarray(most[0].astype(int) - most[1].astype(int))


def _kappa(sums: NDArray[np.float64]) -> float:
    """Fleiss' kappa of (examples, sum of their agreements, ratings by category)."""
    agreement, ratings = sums[1] / sums[0], sums[2:]
    chance = float(((ratings / ratings.sum()) ** 2).sum())
    return float((agreement - chance) / (1 - chance)) if chance < 1 else float("nan")


def fleiss_kappa(counts: ArrayLike, seed: int = 0) -> Estimate | None:
    """Agreement beyond chance of raters who each put every example into one category, with its interval over examples.

    `counts` [examples, categories] is how many raters chose each; all rows sum to the same number. 1 is full
    agreement, 0 that of chance. None for fewer than two raters and where only one category was ever chosen: there
    is no agreement to speak of. Fleiss (1971), Psychological Bulletin 76(5).
    """
    table = np.asarray(counts, dtype=float)
    raters = table.sum(1)
    if raters.min() != raters.max():
        raise ValueError(f"every example needs as many ratings: there are {int(raters.min())} to {int(raters.max())}")
    if raters[0] < 2 or table.any(0).sum() < 2:
        return None
    agreements = (table * (table - 1)).sum(1) / (raters * (raters - 1))
    return interval(np.column_stack([np.ones(len(table)), agreements, table]), _kappa, seed)


def outcome(verdicts: ArrayLike, seed: int = 0) -> Outcome:
    """All that is reported of one axis."""
    table = np.asarray(verdicts)
    said = {name: table == verdict for name, verdict in VERDICTS.items()}
    most = majority(table)
    return Outcome(
        {name: interval(chosen.mean(1), seed=seed) for name, chosen in said.items()},
        sign_test(int((most == 1).sum()), int((most == -1).sum())),
        sign_test(int(said["better"].sum()), int(said["worse"].sum())),
        fleiss_kappa(np.column_stack([chosen.sum(1) for chosen in said.values()]), seed),
    )
