"""Means over training seeds and test examples at once, by a bootstrap that draws both anew (numpy only).

In: values [seeds, examples], nan where an example has none. An interval over examples alone speaks of these very
models; with seeds drawn too it speaks of the method that made them. Few seeds say little of how seeds vary: an
interval from two or three is too narrow rather than too wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bootstrap import Estimate, _percentiles

DRAWS, CHUNK = 5000, 250
Array = NDArray[np.float64]


def _table(values: ArrayLike) -> Array:
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"values by seed and example are asked, not of shape {table.shape}")
    return table


def _weights(seeds: int, examples: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """How often each seed and each example is drawn, [draws, seeds] and [draws, examples], a chunk at a time."""
    random = np.random.default_rng(seed)
    for _ in range(DRAWS // CHUNK):
        first, second = (random.multinomial(n, np.full(n, 1 / n), size=CHUNK).astype(float) for n in (seeds, examples))
        yield first, second


def _draws(table: Array, seed: int) -> Array:
    """The mean of each draw over the values that are given."""
    given = ~np.isnan(table)
    filled = np.where(given, table, 0.0)
    found = []
    for seeds, examples in _weights(len(table), table.shape[1], seed):
        sums, counts = ((seeds * (examples @ part.T)).sum(1) for part in (filled, given.astype(float)))
        found.append(np.divide(sums, counts, out=np.full(CHUNK, np.nan), where=counts > 0))
    return np.concatenate(found)


def crossed_mean(values: ArrayLike, seed: int = 0) -> Estimate:
    """The mean over seeds and examples, with its interval over both."""
    table = _table(values)
    return _percentiles(float(np.nanmean(table)), list(_draws(table, seed)))


def crossed_difference(values: ArrayLike, other: ArrayLike, seed: int = 0) -> tuple[Estimate, float]:
    """Mean difference on the same seeds and examples, with its interval and two-sided p-value, both from the same draws.

    The p-value is twice the share of draws on the other side of 0, itself counted in, at most 1. An example without a
    value on either side counts on neither.
    """
    first, second = _table(values), _table(other)
    if first.shape != second.shape:
        raise ValueError(f"not the same seeds and examples: {first.shape} against {second.shape}")
    difference = first - second
    draws = _draws(difference, seed)
    draws = draws[~np.isnan(draws)]
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return _percentiles(float(np.nanmean(difference)), list(draws)), min(1.0, 2 * (beyond + 1) / (len(draws) + 1))


def nested_mean(values: Sequence[ArrayLike], seed: int = 0) -> tuple[Estimate, float]:
    """The mean over groups of the means of their own examples, with its interval and two-sided p-value against 0.

    Groups (worlds, each with test examples of its own) are drawn anew, and within each draw of one its examples.
    """
    groups = [found[~np.isnan(found)] for found in (np.asarray(some, dtype=float) for some in values)]
    if not groups or not all(map(len, groups)):
        raise ValueError("a group has not one value")
    random = np.random.default_rng(seed)
    draws = np.zeros(DRAWS)
    for _ in groups:
        chosen = random.integers(len(groups), size=DRAWS)
        for place, found in enumerate(groups):
            times = int((chosen == place).sum())
            draws[chosen == place] += found[random.integers(len(found), size=(times, len(found)))].mean(1) / len(groups)
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return _percentiles(float(np.mean([found.mean() for found in groups])), list(draws)), min(1.0, 2 * (beyond + 1) / (DRAWS + 1))
