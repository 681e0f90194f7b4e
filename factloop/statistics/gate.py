"""The promotion rule: absolute limits, then candidate against champion by intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .bootstrap import Estimate
from .compare import LOWER_IS_BETTER

Outcome = Literal["promote", "hold", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    reasons: list[str]

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


def absolute(metrics: Mapping[str, float], limits: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The absolute limits that are broken, in words; a metric that is missing breaks its limit."""
    broken = []
    for name, limit in limits.items():
        value = metrics.get(name)
        if value is None:
            broken.append(f"{name} was not measured")
        elif "least" in limit and not value >= limit["least"]:
            broken.append(f"{name} is {value:.3f}, at least {limit['least']} is asked")
        elif "most" in limit and not value <= limit["most"]:
            broken.append(f"{name} is {value:.3f}, at most {limit['most']} is asked")
    return broken


def decide(metrics: Mapping[str, float], limits: Mapping[str, Any], differences: Mapping[str, Estimate] | None) -> Verdict:
    """Promote, hold, or inconclusive.

    `differences` are candidate - champion, None where there is no champion. A guarded metric
    may not be worse by more than its margin: surely worse (whole interval) holds; not surely
    within the margin is inconclusive. Then the metric of `improve` must be better with an
    interval that excludes 0.
    """
    broken = absolute(metrics, limits["absolute"])
    if broken:
        return Verdict("hold", broken)
    if differences is None:
        return Verdict("promote", ["no champion yet, and every absolute limit holds"])
    missing = [name for name in (*limits["not_worse_by"], limits["improve"]) if name not in differences]
    if missing:
        return Verdict("inconclusive", [f"{name} cannot be compared: no example has it on both sides" for name in missing])
    doubts = []
    for name, margin in limits["not_worse_by"].items():
        gain = _gain(name, differences[name])
        if gain.high < -margin:
            return Verdict("hold", [f"{name} is worse by {-gain.value:.3f} [{-gain.high:.3f}, {-gain.low:.3f}], allowed is {margin}"])
        if gain.low < -margin:
            doubts.append(f"{name} may be worse by {-gain.low:.3f}, allowed is {margin}")
    gain = _gain(limits["improve"], differences[limits["improve"]])
    if gain.high < 0:
        return Verdict("hold", [f"{limits['improve']} is worse: gain {gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}]"])
    if gain.low <= 0:
        doubts.append(f"{limits['improve']} is not surely better: gain {gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}]")
    if doubts:
        return Verdict("inconclusive", doubts)
    return Verdict("promote", [f"{limits['improve']} is better: gain {gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}]"])


def _gain(name: str, difference: Estimate) -> Estimate:
    """The difference with more as better."""
    if name in LOWER_IS_BETTER:
        return Estimate(-difference.value, -difference.high, -difference.low)
    return difference
