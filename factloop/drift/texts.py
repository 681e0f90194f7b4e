"""Are incoming texts drawn from where the old ones were? A two-sample test by permutation.

Four scores say how far a text stands out: two of classifiers that tell incoming from old texts by their characters and
by their words, each asked about a text that it has not seen, and two of how rare the text's words and word pairs are.
Classifiers find what many incoming texts share, rarity what no other text has. All is computed from both samples
together, and only the labels are permuted. So the chance of a false alarm is the stated level, whatever the
texts are, as long as each could have come in either sample (Fisher 1935; Lehmann and Romano 2005, 15.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sketch import Sketch, join

PERMUTATIONS = 999
RIDGE = 100.0  # times the mean variance of a feature: most directions of a few hundred texts are noise
SPREAD = 1e-3  # of a feature, at least: one that hardly varies says nothing
RARE = 2  # texts of both samples together that have a rare word
# Where a few incoming texts are of another kind, they are the first few by a score: numbers of first ones, as shares of the incoming.
FIRST = np.geomspace(0.02, 0.4, 8)
Array = NDArray[np.float32]


@dataclass(frozen=True)
class TextTest:
    p: float
    excess: float
    """The share of the incoming texts that are among those which stand out, beyond what chance makes."""
    first: tuple[int, int, float]
    """Where that is most: the incoming among so many that stand out most, and how many of them chance would make."""
    unlike: NDArray[np.float64]
    """[incoming]: how far each stands out, 1 the most, by the score that shows most."""


def test_texts(incoming: Sketch, old: Sketch, seed: int = 0, permutations: int = PERMUTATIONS) -> TextTest:
    """P-value of no difference, by the greatest of the scores' statistics, each in its standard deviations over permutations."""
    count, total = len(incoming), len(incoming) + len(old)
    order = np.random.default_rng(seed).permutation(total)  # so that ties fall by chance, and not by sample
    both = join(incoming, old).take(order)
    labels = permuted(order < count, permutations, seed)
    found: list[Array] = []
    firsts, ranks = [], []
    for scores in _scores(both, labels):
        places = np.argsort(-scores, axis=0)
        hits = np.cumsum(np.take_along_axis(labels, places, 0) if scores.shape[1] > 1 else labels[places[:, 0]], 0)
        found += _statistics(hits, count)
        firsts.append(hits[:, 0])
        ranks.append(np.argsort(places[:, 0]))
    table = np.array(found)
    spread = table.std(1, keepdims=True)
    greatest = ((table - table.mean(1, keepdims=True)) / np.where(spread, spread, 1)).max(0)
    best = int(((table[:, 0] - table.mean(1)) / np.where(spread, spread, 1)[:, 0]).argmax()) // 2
    p = float((greatest >= greatest[0] - 1e-6).mean())
    place = np.empty(total, dtype=np.int64)
    place[order] = ranks[best]
    return TextTest(p, *_excess(firsts[best], count), 1 - place[:count] / total)


def permuted(chosen: NDArray[np.bool_], permutations: int, seed: int) -> Array:
    """[examples, 1 + permutations]: 1 for an incoming one; first as it is, then as many at random."""
    rng, labels = np.random.default_rng(seed + 1), np.zeros((len(chosen), 1 + permutations), dtype=np.float32)
    labels[chosen, 0] = 1
    for column in range(1, 1 + permutations):
        labels[rng.permutation(len(chosen))[: chosen.sum()], column] = 1
    return labels


def _scores(both: Sketch, labels: Array) -> Iterator[Array]:
    """[texts, 1 + permutations] for what heeds the labels, [texts, 1] for what does not."""
    yield left_out(both.characters, labels)
    yield left_out(both.words, labels)
    yield _rarity(both.single, lambda held: (held <= RARE).astype(float))
    yield _rarity(both.pairs, lambda held: -np.log(held - 0.5))


def left_out(features: Array, labels: Array) -> Array:
    """What ridge regression on all other examples says of each, for every column of labels; features count alike.

    Its leave-one-out predictions follow from the fit to all (Allen 1974): (prediction - leverage * label) / (1 - leverage).
    """
    scaled = (features - features.mean(0)) / np.maximum(features.std(0), SPREAD)
    ridge = RIDGE * float((scaled * scaled).sum()) / scaled.shape[1]
    middle = labels - labels.mean(0)
    if len(scaled) <= scaled.shape[1]:  # the same by the smaller of two matrices
        kernel = scaled @ scaled.T
        smoother = kernel @ np.linalg.inv(kernel + ridge * np.eye(len(kernel), dtype=np.float32))
        leverage, predicted = np.diag(smoother)[:, None], smoother @ middle
    else:
        gram = scaled.T @ scaled
        fitting = scaled @ np.linalg.inv(gram + ridge * np.eye(len(gram), dtype=np.float32))
        leverage, predicted = (fitting * scaled).sum(1)[:, None], fitting @ (scaled.T @ middle)
    return np.asarray((predicted - leverage * middle) / (1 - leverage))


def _rarity(grams: Sequence[NDArray[np.int64]], weight: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Array:
    """[texts, 1]: the mean over a text's grams of a weight by how many texts of both samples have it; 0 where it has none."""
    sizes, held = np.array([len(own) for own in grams]), np.concatenate(grams)
    weights = weight(np.bincount(held)[held].astype(float))
    sums = np.bincount(np.repeat(np.arange(len(grams)), sizes), weights, minlength=len(grams))
    return np.asarray(sums / np.maximum(sizes, 1), dtype=np.float32)[:, None]


def _statistics(hits: Array, count: int) -> Iterator[Array]:
    """Of the numbers of incoming among the first 1, 2, ... texts, [texts, 1 + permutations]: two statistics of how high the incoming stand.

    The sum of exponential scores (Savage 1956), which heeds all and the first most; and the greatest surplus
    among the first few in its binomial standard deviations, for a few texts of another kind.
    """
    total = len(hits)
    # Weights log(total / place), as expected of exponential scores; summed by parts, since hits are cumulated.
    yield np.log1p(1 / (np.arange(total, dtype=np.float32) + 0.5)) @ hits
    yield _surplus(hits, count)[1].max(0)


def _surplus(hits: Array, count: int) -> tuple[NDArray[np.int64], Array]:
    """Numbers of first texts, and by how many binomial standard deviations more of each than by chance are incoming."""
    few, share = np.unique(np.clip(FIRST * count, 5, len(hits)).astype(np.int64)), count / len(hits)
    chance, deviation = (few * share)[:, None], np.sqrt(few * share * (1 - share))[:, None]
    return few, (hits[few - 1] - chance) / deviation


def _excess(hits: Array, count: int) -> tuple[float, tuple[int, int, float]]:
    """What `TextTest` says of the observed labels, [texts]: where the surplus is greatest."""
    few, surplus = _surplus(hits[:, None], count)
    first, share = int(few[surplus[:, 0].argmax()]), count / len(hits)
    among, chance = int(hits[first - 1]), first * share
    # Where s of the incoming are of another kind, the first k hold them and their share of the k - s others.
    return max(0.0, (among - chance) / (1 - share) / count), (among, first, chance)
