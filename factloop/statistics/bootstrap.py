"""Percentile bootstrap over examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
Statistic = Callable[[NDArray[np.float64]], float]


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def _weights(count: int, seed: int) -> NDArray[np.float64]:
    """How often each example is drawn, [resamples, count]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)


def _table(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=float)
    if not len(table):
        raise ValueError("an interval needs at least one example")
    return table.reshape(len(table), -1)


def _percentiles(value: float, draws: Sequence[float]) -> Estimate:
    low, high = np.nanpercentile(draws, [2.5, 97.5])  # where few examples have a value, some draws have none of them
    return Estimate(float(value), float(low), float(high))


def mean(sums: NDArray[np.float64]) -> float:
    """The statistic of rows (value, 1): the mean."""
    return float(sums[0] / sums[1]) if sums[1] else float("nan")


def _columns(values: ArrayLike, statistic: Statistic) -> NDArray[np.float64]:
    """Per-example rows whose sums `statistic` takes; examples without a value count for nothing."""
    table = _table(values)
    if statistic is not mean:
        return table
    given = ~np.isnan(table)
    return np.concatenate([np.where(given, table, 0.0), given.astype(float)], 1)


def interval(values: ArrayLike, statistic: Statistic = mean, seed: int = 0) -> Estimate:
    """`statistic` of the summed per-example rows, by default the mean, with its interval."""
    table = _columns(values, statistic)
    draws = [statistic(sums) for sums in _weights(len(table), seed) @ table]
    return _percentiles(statistic(table.sum(0)), draws)


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """The chance that a positive scores above a negative, ties half (Mann-Whitney)."""
    high, low = np.asarray(positive, dtype=float), np.sort(np.asarray(negative, dtype=float))
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.sum() / 2 / len(high) / len(low))


def auc_interval(positive: ArrayLike, negative: ArrayLike, seed: int = 0) -> Estimate:
    """`auc` with an interval over examples of both kinds."""
    rng = np.random.default_rng(seed)
    high, low = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    values, ranks = np.unique(np.concatenate([high, low]), return_inverse=True)  # sorted once, not in each draw
    sides = ranks[: len(high)], ranks[len(high) :]
    draws = []
    for _ in range(RESAMPLES):
        above, below = (np.bincount(side[rng.integers(0, len(side), len(side))], minlength=len(values)) for side in sides)
        draws.append(float(above @ (np.cumsum(below) - below / 2)) / len(high) / len(low))
    return _percentiles(auc(high, low), draws)
