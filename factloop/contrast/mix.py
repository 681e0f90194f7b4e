"""What S+ and S- are chosen by: the score of one judge, or of several, mixed.

In: each text's scores by name. Out: one number a text, higher is more consistent, None where a judge that is asked gave none.
Judges count in units of their own (nats, shares, ROUGE points), so those of a mix are standardised first.

A row of a document has the `scores` of its texts, the reference's first, and their `answers`: by kind of score, which is its name
less the aggregate, each answer that was asked for, or sentence, with how far the document bears it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..corpora.rows import Row

Scores = Mapping[str, float | None]
"""Of one text, by name."""
Score = str | Mapping[str, float]
"""What chooses: the name of one score, or the weights of several."""


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


def mix_over(score: Score, rows: Sequence[Row]) -> Mix:
    """The scales of a score over the candidates."""
    weights = {score: 1.0} if isinstance(score, str) else score
    return mix_of(weights, [scores for row in rows for scores in row["scores"][1:]])


def scored_rows(score: Score, rows: Iterable[Row]) -> list[Row]:
    """Each row with `summary_score` and `candidate_scores`, None where a text has none, and its `answers` in the same units."""
    given = list(rows)
    mix = mix_over(score, given)
    found = []
    for row in given:
        first, *others = (mixed(mix, scores) for scores in row["scores"])
        found.append(
            row | {"summary_score": first, "candidate_scores": others, "answers": [borne_out(mix, said) for said in row["answers"]]}
        )
    return found


def borne_out(mix: Mix, said: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """By answer or sentence of a text what the least sure score of the mix says of it; an edit takes those away that are doubted.
    A score that is of no judge, such as `rouge`, says nothing of answers."""
    found: dict[str, float] = {}
    for name, scale in mix.items():
        for text, value in said.get(name.removesuffix("_worst").removesuffix("_low"), {}).items():
            found[text] = min(scale(value), found.get(text, math.inf))
    return found
