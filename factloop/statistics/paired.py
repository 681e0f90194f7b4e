"""Two systems on the same examples: the paired difference with its interval, p-value and power.

Everything is computed from one number an example, its share in the difference: for a mean that is
the difference of its two scores; for a score of the whole, such as BLEU, its jackknife pseudo-value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bootstrap import Estimate, Statistic

LEVEL = 0.05  # two-sided, so that a candidate that is no better is found better at most in 2.5% of tries
POWER = 0.8
DRAWS = 2000
FLIPS = 5000
SWAPS = 2000
ALL_FLIPS = 13  # differing examples up to which every assignment of signs is tried
BLOCK = 4_000_000  # numbers held at once while drawing
Array = NDArray[np.float64]
normal = NormalDist()


@dataclass(frozen=True)
class Difference(Estimate):
    """One system less another, on the examples where both have the metric. The interval is of 95%."""

    p: float
    """Two-sided, of no difference."""
    examples: int
    differing: int
    """Examples on which the two are not equal."""
    variance: float
    """Of the examples' shares in the difference."""
    most: float
    """The upper 80% limit of that variance: what is promised of other examples must not rest on a lucky sample (Browne 1995)."""
    step: float
    """By how much an example differs where it does, in the mean.

    Of a score of the whole each is weighed by its size, since single examples can carry it.
    """

    def turned(self) -> Difference:
        """The same with less as better, or the other system as the first."""
        return replace(self, value=-self.value, low=-self.high, high=-self.low)

    def detectable(self, power: float = POWER) -> float:
        """The true difference that as many examples show with this power; infinite where no example differs.

        Solves d = z sqrt((most + step d) / n): the usual formula (Cohen 1988, chapter 2), and in it that a
        difference is made of examples that change, each by `step`, which adds to the variance. Without that term
        too much is promised of metrics that seldom differ.
        """
        if not self.differing:
            return math.inf
        half = self._quantiles(power) ** 2 * self.step / self.examples / 2
        return half + math.sqrt(half**2 + self._quantiles(power) ** 2 * self.most / self.examples)

    def needed(self, difference: float, power: float = POWER) -> float:
        """Examples that show a true difference of this size with this power; infinite for none."""
        size = abs(difference)
        if not size or not self.differing:
            return math.inf
        return math.ceil(self._quantiles(power) ** 2 * (self.most + self.step * size) / size**2)

    def _quantiles(self, power: float) -> float:
        """That of the level, or how many standard errors the interval reaches where skewness makes it longer; and that of the power."""
        error = math.sqrt(self.variance / self.examples)
        reach = max(self.value - self.low, self.high - self.value) / error if error else 0.0
        return max(reach, normal.inv_cdf(1 - LEVEL / 2)) + normal.inv_cdf(power)


def shares(values: ArrayLike, statistic: Statistic | None = None) -> Array:
    """Each example's share in a score, [examples]; their mean is the score.

    Without `statistic` the values themselves, [examples]. With it jackknife pseudo-values (Tukey 1958) of the statistic of the
    summed rows, [examples, sums], moved so that their mean is the score itself.
    """
    table = np.asarray(values, dtype=float)
    if statistic is None:
        return table
    total, count = table.sum(0), len(table)
    if count == 1:
        return np.array([statistic(total)])
    pseudo = -(count - 1) * np.array([statistic(total - row) for row in table])
    return np.asarray(pseudo - pseudo.mean() + statistic(total))


def of_shares(found: Array, seed: int = 0) -> Difference:
    """The difference whose shares these are, [examples], at least one and none of them NaN."""
    differing = np.abs(found) > 1e-12 * max(1.0, float(np.abs(found).max()))
    low, high = mean_interval(found, seed)
    variance = float(found.var(ddof=1)) if len(found) > 1 else 0.0
    fourth = float(((found - found.mean()) ** 4).mean())
    error = math.sqrt(max(0.0, fourth - variance**2) / len(found))  # of the variance
    return Difference(
        value=float(found.mean()), low=low, high=high, p=sign_flip_p(found[differing], seed),
        examples=len(found), differing=int(differing.sum()),
        variance=variance, most=variance + normal.inv_cdf(0.8) * error,
        step=float(np.abs(found[differing]).mean()) if differing.any() else 0.0,
    )  # fmt: skip


def paired_difference(candidate: ArrayLike, other: ArrayLike, statistic: Statistic | None = None, seed: int = 0) -> Difference:
    """candidate - other on the same examples: values, [examples], or rows, [examples, sums], for a `statistic` of their sum.

    An example without a value (NaN) on either side counts on neither.
    """
    first, second = np.asarray(candidate, dtype=float), np.asarray(other, dtype=float)
    found = shares(first, statistic) - shares(second, statistic)
    difference = of_shares(found[~np.isnan(found)], seed)
    if statistic is None or not difference.differing:
        return difference
    return replace(difference, p=swap_p(first, second, statistic, seed), step=float((found**2).sum() / np.abs(found).sum()))


def swap_p(first: Array, second: Array, statistic: Statistic, seed: int = 0) -> float:
    """Two-sided p-value of a statistic of summed rows, by swapping the two systems on random examples.

    Approximate randomisation (Riezler and Maxwell 2005); `sign_flip_p` is the same for a mean. Exact, where swapping pseudo-values
    is not: BLEU of a system that gets almost nothing right rests on single examples.
    """
    both, apart = first.sum(0) + second.sum(0), first - second
    reached = abs(statistic(first.sum(0)) - statistic(second.sum(0))) * (1 - 1e-9)
    swapped = np.random.default_rng(seed).integers(0, 2, (SWAPS, len(first)), dtype=np.int8).astype(float)
    sums = second.sum(0) + swapped @ apart
    as_far = sum(abs(statistic(side) - statistic(both - side)) >= reached for side in sums)
    return (as_far + 1) / (SWAPS + 1)


def sign_flip_p(found: Array, seed: int = 0) -> float:
    """Two-sided p-value of a mean of 0: the share of sign assignments whose sum is as far from 0 (Fisher 1935).

    Exact where swapping the two systems on an example would change nothing, at any number of
    examples and for any distribution. Up to 13 differing examples all assignments are tried.
    """
    if not len(found):
        return 1.0
    reached = abs(found.sum()) * (1 - 1e-9)
    if len(found) <= ALL_FLIPS:
        signs = 1.0 - 2 * (np.arange(2 ** len(found))[:, None] >> np.arange(len(found)) & 1)
        return float((np.abs(signs @ found) >= reached).mean())
    rows = max(1, BLOCK // len(found))
    as_far, rng = 0, np.random.default_rng(seed)
    for start in range(0, FLIPS, rows):
        flipped = rng.integers(0, 2, (min(rows, FLIPS - start), len(found)), dtype=np.int8).astype(float)
        as_far += int((np.abs(found.sum() - 2 * (flipped @ found)) >= reached).sum())
    return (as_far + 1) / (FLIPS + 1)


def mean_interval(found: Array, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of the mean, by the bootstrap corrected for bias and skewness (BCa; Efron 1987)."""
    middle = found - found.mean()
    spread = float((middle**2).sum())
    if spread <= 1e-20 * float((found**2).sum()):  # all alike, but for rounding
        return float(found.mean()), float(found.mean())
    draws = np.sort(_means(middle, seed))
    acceleration = float((middle**3).sum()) / (6 * spread**1.5)
    below = (np.searchsorted(draws, 0.0, "left") + np.searchsorted(draws, 0.0, "right")) / 2 / len(draws)
    bias = normal.inv_cdf(min(max(below, 1 / len(draws)), 1 - 1 / len(draws)))

    def bound(share: float) -> float:
        shifted = bias + normal.inv_cdf(share)
        return float(np.quantile(draws, normal.cdf(bias + shifted / (1 - acceleration * shifted))) + found.mean())

    return bound(LEVEL / 2), bound(1 - LEVEL / 2)


def _means(values: Array, seed: int) -> Array:
    """Means of bootstrap samples."""
    rng, count = np.random.default_rng(seed), len(values)
    rows = max(1, BLOCK // count)
    sizes = [(min(rows, DRAWS - start), count) for start in range(0, DRAWS, rows)]
    return np.concatenate([values[rng.integers(0, count, size, dtype=np.int32)].mean(1) for size in sizes])
