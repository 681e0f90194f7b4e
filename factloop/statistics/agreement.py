"""How far a score agrees with labels: correlations, and balanced accuracy at a threshold chosen elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bootstrap import RESAMPLES, Estimate, _percentiles

Array = NDArray[np.float64]


def pearson(scores: Array, labels: Array) -> float:
    """The correlation; 0 where either does not vary."""
    if not scores.std() or not labels.std():
        return 0.0
    return float(np.corrcoef(scores, labels)[0, 1])


def spearman(scores: Array, labels: Array) -> float:
    """The correlation of ranks, ties at their mean."""
    return pearson(_ranks(scores), _ranks(labels))


def _ranks(values: Array) -> Array:
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")).astype(float)


def within(values: Array, systems: NDArray[np.str_]) -> Array:
    """Values less the mean of their system: their correlation is the partial one that controls for the system."""
    _, index = np.unique(systems, return_inverse=True)
    return np.asarray(values - (np.bincount(index, values) / np.bincount(index))[index])


def correlations(scores: ArrayLike, labels: ArrayLike, systems: Sequence[str] | None = None, seed: int = 0) -> dict[str, Estimate]:
    """Pearson and Spearman with intervals over examples; with `systems` also both partial to them."""
    x, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=float)
    names = np.asarray(systems) if systems else None
    kinds = {"pearson": pearson, "spearman": spearman}

    def measured(index: NDArray[np.int64]) -> list[float]:
        a, b = x[index], y[index]
        values = [kind(a, b) for kind in kinds.values()]
        if names is not None:
            a, b = within(a, names[index]), within(b, names[index])
            values += [kind(a, b) for kind in kinds.values()]
        return values

    rng = np.random.default_rng(seed)
    draws = [measured(rng.integers(len(x), size=len(x))) for _ in range(RESAMPLES)]
    labelled = [*kinds, *(f"{name}_partial" for name in kinds if names is not None)]
    return {
        name: _percentiles(value, [draw[i] for draw in draws])
        for i, (name, value) in enumerate(zip(labelled, measured(np.arange(len(x))), strict=True))
    }


def paired_agreement(
    agreement: Callable[[Array, Array], float], scores: ArrayLike, other: ArrayLike, labels: ArrayLike, seed: int = 0
) -> Estimate:
    """Agreement of `scores` with the labels less that of `other`, both on the same resampled examples."""
    x, z, y = (np.asarray(values, dtype=float) for values in (scores, other, labels))
    rng = np.random.default_rng(seed)
    indices = [rng.integers(len(y), size=len(y)) for _ in range(RESAMPLES)]
    draws = [agreement(x[index], y[index]) - agreement(z[index], y[index]) for index in indices if np.ptp(y[index])]
    return _percentiles(agreement(x, y) - agreement(z, y), draws)


def balanced_accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """The mean share of the consistent (label 1) at or above the threshold and of the others below it."""
    above, good = np.asarray(scores) >= threshold, np.asarray(labels) == 1
    return float((above[good].mean() + (~above[~good]).mean()) / 2)


def best_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """The threshold of the highest balanced accuracy, half way between two scores."""
    ordered = np.unique(np.asarray(scores, dtype=float))
    cuts = np.concatenate([[ordered[0]], (ordered[1:] + ordered[:-1]) / 2])
    good = np.asarray(labels) == 1
    x = np.asarray(scores, dtype=float)
    kept = 1 - np.searchsorted(np.sort(x[good]), cuts) / good.sum()
    refused = np.searchsorted(np.sort(x[~good]), cuts) / (~good).sum()
    return float(cuts[np.argmax(kept + refused)])


def accuracy_interval(scores: ArrayLike, labels: ArrayLike, threshold: float, seed: int = 0) -> Estimate:
    """`balanced_accuracy` with an interval over examples of both kinds."""
    above, good = np.asarray(scores) >= threshold, np.asarray(labels) == 1
    rng = np.random.default_rng(seed)
    kinds = above[good].astype(float), (~above[~good]).astype(float)
    draws = sum(rng.choice(kind, (RESAMPLES, len(kind))).mean(1) for kind in kinds) / 2
    return _percentiles(balanced_accuracy(scores, labels, threshold), list(np.asarray(draws)))


def wilson(right: int, total: int, level: float = 0.95) -> Estimate:
    """A share with its interval by Wilson (1927), which holds for few examples and shares near 0 and 1."""
    if not 0 <= right <= total or not total:
        raise ValueError(f"{right} right of {total}")
    z, share = NormalDist().inv_cdf((1 + level) / 2), right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def cohen_kappa(one: Sequence[str], other: Sequence[str]) -> float:
    """Agreement of two readers beyond chance (Cohen 1960); 1 where both give all examples one and the same label."""
    if len(one) != len(other) or not one:
        raise ValueError(f"{len(one)} labels and {len(other)}")
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
    chance = sum(one.count(label) * other.count(label) for label in {*one, *other}) / len(one) ** 2
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)
