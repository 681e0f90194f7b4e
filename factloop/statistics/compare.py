"""Two systems on the same examples: paired differences per metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..metrics import bleu, meteor
from .bootstrap import Estimate, paired_difference

LOWER_IS_BETTER = {"hallucination_rate"}


def compare_examples(candidate: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> dict[str, Estimate]:
    """candidate - other for every metric of the per-example rows (`scores`, `bleu_statistics`, `meteor_statistics`).

    Raises ValueError where the rows are not of the same examples in the same order. An example
    without a score on either side (no evidence) counts on neither.
    """
    ids = [[row["id"] for row in rows] for rows in (candidate, other)]
    if ids[0] != ids[1]:
        differing = sum(a != b for a, b in zip(*ids, strict=False)) + abs(len(ids[0]) - len(ids[1]))
        raise ValueError(f"not the same test examples: {len(ids[0])} against {len(ids[1])}, {differing} of them differ")
    found: dict[str, Estimate] = {}
    for name in candidate[0]["scores"]:
        sides = np.array([[row["scores"].get(name) for row in rows] for rows in (candidate, other)], dtype=float)
        sides[:, np.isnan(sides).any(0)] = np.nan
        if not np.isnan(sides).all():
            found[name] = paired_difference(sides[0], sides[1])
    for name, statistic in (("bleu", bleu), ("meteor", meteor)):
        if f"{name}_statistics" in candidate[0]:
            sums = [np.array([row[f"{name}_statistics"] for row in rows]) for rows in (candidate, other)]
            found[name] = paired_difference(sums[0], sums[1], statistic)
    return found
