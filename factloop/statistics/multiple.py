"""Several tests at once: p-values that keep the chance of any false alarm."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the same order: below 0.05, a test stands with a chance of at most 0.05 that any true hypothesis is rejected.

    The smallest is multiplied by the number of tests, the next by one less, and so on; none falls below a smaller
    one, none exceeds 1. Holm (1979), Scandinavian Journal of Statistics 6(2).
    """
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = most
    return adjusted
