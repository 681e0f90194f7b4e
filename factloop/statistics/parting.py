"""Does the truth follow the judge? A model that is trained on a judge's scores may learn to please it.

In: evaluations in order, the first of the model as it was, each with a judge's scores and a second measure of the same examples
that nothing was chosen by. Out: whether the two have parted, since when, and in which numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import Estimate, interval
from .compare import LOWER_IS_BETTER
from .paired import Difference, paired_difference

Values = Sequence[float | None]
ALARM = 0.05


@dataclass(frozen=True)
class Evaluation:
    label: str
    """Where it was made, as a person is told: a step or a round."""
    score: Values
    """The judge's, of each example; None where it had no evidence."""
    second: Values
    """The truth, or the nearest to it that there is."""
    measure: str
    """What `second` is."""

    @classmethod
    def of(cls, label: str, rows: Sequence[Mapping[str, Any]]) -> Evaluation:
        """From rows as `factloop.steps.validation` writes them."""
        measure = rows[0]["measure"]
        return cls(label, [row["scores"]["score"] for row in rows], [row["scores"][measure] for row in rows], measure)

    @property
    def estimates(self) -> tuple[Estimate, Estimate]:
        """Means of score and second measure, with their intervals."""
        return interval(_array(self.score)), interval(_array(self.second))


@dataclass(frozen=True)
class Parted:
    """Judge and second measure have gone apart."""

    good: int
    """The last evaluation before."""
    told: str
    """The numbers, in a sentence."""


def parted(evaluations: Sequence[Evaluation], patience: int) -> Parted | None:
    """Whether each of the last `patience` evaluations has a higher mean of the judge and a surely worse second measure than that
    evaluation before it whose second measure was best. Surely: the 95% interval of the paired difference leaves 0 out,
    and a test of it says so, too: where two examples of 200 differ, the interval alone cannot tell.
    """
    count = 0
    for place in range(1, len(evaluations)):
        count = count + 1 if _apart(evaluations[: place + 1]) else 0
    if count < patience:
        return None
    since, now, before = len(evaluations) - count, evaluations[-1], _best(evaluations[:-1])
    up, down = compared(now.score, before.score), compared(now.second, before.second)
    return Parted(
        since - 1,
        f"the judge's score rose by {up.value:.3f} from {before.label} to {now.label}, and {now.measure} went the wrong way by "
        f"{abs(down.value):.3f} [{min(abs(down.low), abs(down.high)):.3f}, {max(abs(down.low), abs(down.high)):.3f}], "
        f"{count} {'times' if count > 1 else 'time'} in a row; {evaluations[since - 1].label} is the last good one",
    )


def compared(values: Values, before: Values) -> Difference:
    """values - before, on the examples that have both; none where no example has."""
    now, then = _array(values), _array(before)
    return paired_difference(now, then) if (~np.isnan(now - then)).any() else paired_difference([0.0], [0.0])


def _apart(evaluations: Sequence[Evaluation]) -> bool:
    now, before = evaluations[-1], _best(evaluations[:-1])
    worse = _for_the_better(now.measure, compared(now.second, before.second))
    return compared(now.score, before.score).value > 0 and worse.high < 0 and worse.p < ALARM


def _best(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The first with the best second measure."""
    sign = -1 if evaluations[0].measure in LOWER_IS_BETTER else 1
    return max(evaluations, key=lambda one: sign * float(np.nanmean(_array(one.second))))


def _for_the_better(measure: str, difference: Difference) -> Difference:
    return difference.turned() if measure in LOWER_IS_BETTER else difference


def best_round(evaluations: Sequence[Evaluation], margin: float, patience: int) -> tuple[int, str | None]:
    """(best, why no further round is trained, if none is): of evaluations of the start and of each round since.

    A round is the best that raises the mean score by more than `margin` above the best before it; the first that does not ends
    them, as do judge and second measure that part: then the last round before that is the best there is. 0 is the start.
    """
    if apart := parted(evaluations, patience):
        return apart.good, f"stopped: {apart.told}"
    best = 0
    for place in range(1, len(evaluations)):
        risen = compared(evaluations[place].score, evaluations[best].score)
        if risen.value <= margin:
            return best, (
                f"stopped: the judge's score rose by {risen.value:+.3f} [{risen.low:+.3f}, {risen.high:+.3f}] "
                f"from {evaluations[best].label} to {evaluations[place].label}, and more than {margin:g} is asked; "
                f"{evaluations[best].label} is the best"
            )
        best = place
    return best, None


def _array(values: Values) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, dtype=float)
