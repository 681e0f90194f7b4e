"""Are numbers of incoming examples (a length, a judge's score) drawn from where the old ones were? By permutation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..statistics import auc
from .texts import PERMUTATIONS, permuted

Values = Sequence[float | None] | NDArray[np.float64]


@dataclass(frozen=True)
class ValueTest:
    p: float
    above: float
    """The chance that an incoming value is above an old one, ties half; 0.5 where they are alike."""
    medians: tuple[float, float]
    """Of the incoming and of the old that have a value; NaN where none has."""
    missing: tuple[float, float]
    """The shares without a value."""


def test_values(incoming: Values, old: Values, seed: int = 0, permutations: int = PERMUTATIONS) -> ValueTest:
    """P-value of no difference in location, spread or shape, by the statistic of Anderson and Darling (Pettitt 1976).

    An example without a value (None, as of a summary that a judge could not ask about) counts as less than any:
    that more of them are missing is a difference, too.
    """
    new, before = (np.array([np.nan if value is None else value for value in values], dtype=float) for values in (incoming, old))
    both = np.concatenate([new, before])
    both[np.isnan(both)] = -np.inf
    order = np.argsort(both, kind="stable")
    labels = permuted(np.arange(len(both)) < len(new), permutations, seed)[order]
    table = _anderson_darling(both[order], labels, len(new))
    p = float((table >= table[0] - 1e-9 * abs(table[0])).mean())
    medians = tuple(float(np.nanmedian(side)) if not np.isnan(side).all() else float("nan") for side in (new, before))
    missing = tuple(float(np.isnan(side).mean()) for side in (new, before))
    return ValueTest(p, auc(both[: len(new)], both[len(new) :]), medians, missing)  # type: ignore[arg-type]


def _anderson_darling(ordered: NDArray[np.float64], labels: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """For each column of labels the squared difference of the two distributions, weighed by its variance; at the ends of ties only."""
    total = len(ordered)
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], False)) + 1  # examples up to each value but the greatest
    if not len(ends):
        return np.zeros(labels.shape[1])
    tied = np.diff(np.concatenate([[0], ends]))
    apart = np.cumsum(labels, 0)[ends - 1] - (ends * count / total)[:, None]
    return np.asarray((tied / (ends * (total - ends)).astype(float)) @ (apart * apart).astype(np.float64))
