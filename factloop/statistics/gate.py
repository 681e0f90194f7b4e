"""The promotion rule: absolute limits, then candidate against champion by paired differences.

A candidate is promoted where the metric of `improve` is better and no guarded metric is worse by
more than its margin, each at 5% two-sided. All must hold, so the level of the whole is that of one
test and needs no correction (intersection-union test; Berger 1982): a candidate that is no better
is promoted at most in 2.5% of tries. The power of the whole is less than that of one; so what is
said of effects counts with as much more for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .compare import gain, shown
from .paired import POWER, Difference

Outcome = Literal["promote", "hold", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    reasons: list[str]
    asked: dict[str, float] = field(default_factory=dict)
    """By compared metric the true gain at which candidates are promoted in 80% of tries on these examples."""

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


def decide(metrics: Mapping[str, float], limits: Mapping[str, Any], differences: Mapping[str, Difference] | None) -> Verdict:
    """Promote, hold, or inconclusive.

    `differences` are candidate - champion, None where there is no champion. A guarded metric
    may not be worse by more than its margin: surely worse (whole interval) holds; not surely
    within the margin is inconclusive. Then the metric of `improve` must be shown to be better.
    """
    broken = absolute(metrics, limits["absolute"])
    if broken:
        return Verdict("hold", broken)
    if differences is None:
        return Verdict("promote", ["no champion yet, and every absolute limit holds"])
    margins = {name: float(margin) for name, margin in limits["not_worse_by"].items()}
    tests = margins | {limits["improve"]: 0.0}
    missing = [name for name in tests if name not in differences]
    if missing:
        return Verdict("inconclusive", [f"{name} cannot be compared: no example has it on both sides" for name in missing])
    gains = {name: gain(name, differences[name]) for name in tests}
    power = 1 - (1 - POWER) / len(tests)
    asked = {name: gains[name].detectable(power) - margin for name, margin in tests.items()}
    doubts = []
    for name, margin in margins.items():
        found = gains[name]
        if found.high < -margin:
            return Verdict(
                "hold", [f"{name} is worse by {-found.value:.3f} [{-found.high:.3f}, {-found.low:.3f}], allowed is {margin}"], asked
            )
        if found.low < -margin:
            doubts.append(f"{name} may be worse by {-found.low:.3f}, allowed is {margin}{_examples(found, margin, power)}")
    name = limits["improve"]
    found, verdict = gains[name], shown(name, differences[name], differences[name].p)
    told = f"gain {found.value:.3f} [{found.low:.3f}, {found.high:.3f}], p {found.p:.2g}"
    if verdict == "worse":
        return Verdict("hold", [f"{name} is worse: {told}"], asked)
    if verdict == "not shown":
        doubts.append(f"{name} is not surely better: {told}{_examples(found, 0.0, power)}")
    if doubts:
        return Verdict("inconclusive", doubts, asked)
    return Verdict("promote", [f"{name} is better: {told}; {_promise(found, 0.0, power)}"], asked)


def _promise(found: Difference, margin: float, power: float) -> str:
    if not found.differing:
        return f"none of {found.examples} examples differs"
    return f"{found.examples} examples show a true gain of {found.detectable(power) - margin:+.3f} in {power:.0%} of tries"


def _examples(found: Difference, margin: float, power: float) -> str:
    """What these examples can show, and how many would show what was found."""
    needed = found.needed(found.value + margin, power) if found.value + margin > 0 else math.inf
    count = f", and {found.value:+.3f} would take about {needed:.0f}" if math.isfinite(needed) else ""
    return f" ({_promise(found, margin, power)}{count})"
