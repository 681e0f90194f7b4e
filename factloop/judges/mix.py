"""What S+ and S- are chosen by: the score of one judge, or of several, mixed.

In: each text's scores by name. Out: one number a text, higher is more consistent, None where a judge that is asked gave none.
Judges count in units of their own (nats, shares, ROUGE points), so those of a mix are standardised first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Scores = Mapping[str, float | None]
"""Of one text, by name."""


@dataclass(frozen=True)
class Scale:
    """How one score enters the mix."""

    weight: float
    """Its share; those of a mix add up to 1."""
    middle: float
    spread: float
    """Mean and standard deviation over the candidates; 0 and 1 for a score that stands alone, which keeps its units."""

    def __call__(self, value: float) -> float:
        return (value - self.middle) / self.spread


Mix = Mapping[str, Scale]


def mix_of(weights: Mapping[str, float], candidates: Sequence[Scores]) -> dict[str, Scale]:
    """The scale of each score of `weights`, standardised over those candidates that have all of them."""
    if len(weights) == 1:
        return {name: Scale(1.0, 0.0, 1.0) for name in weights}
    whole = [scores for scores in candidates if all(scores[name] is not None for name in weights)]
    found = {}
    for name, weight in weights.items():
        values = np.array([scores[name] for scores in whole], dtype=float)
        spread = float(values.std()) if len(values) else 0.0
        middle = float(values.mean()) if len(values) else 0.0
        # One that says the same of all candidates says nothing.
        found[name] = Scale(weight / sum(weights.values()), middle, spread or 1.0)
    return found


def mixed(mix: Mix, scores: Scores) -> float | None:
    """The score of a text: None, so that it is no candidate, where one of the judges has no evidence on it."""
    total = 0.0
    for name, scale in mix.items():
        value = scores[name]
        if value is None:
            return None
        total += scale.weight * scale(value)
    return total
