"""Two runs of the same thing, step by step: is each metric the same, and where did they part?

Nothing here reads a store: steps as they were recorded in, verdicts out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["identical", "within", "different"]
TOLERANCE = 1e-6  # relative: double rounding of float32 sums in another order stays below it
ZERO = 1e-12  # absolute: what sums leave where the truth is 0
# Parts of a metric's name that tell that it measures the machine and not the model.
TIMES = ("second", "hour", "energy", "cost", "watt")
PARTS = {"step": "code", "code": "code", "config": "config", "libraries": "library", "device": "hardware"}
"""What a person calls the parts of a run key."""


@dataclass(frozen=True)
class Step:
    """A finished step as its run recorded it."""

    name: str
    metrics: Mapping[str, float]
    key: str = ""
    made: str = ""
    """Digest of the files that it made; empty where it makes none."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """Of its run key: step, config, inputs, code, device and libraries."""
    hardware: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """One metric on both sides; None where a side does not have it."""

    name: str
    recorded: float | None
    rerun: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Judged:
    """One step on both sides."""

    name: str
    metrics: list[Measured]
    same_files: bool
    differs: dict[str, list[str]]
    """Code, config, data, library or hardware -> what of it differs; empty where nothing that is recorded does."""
    missing: str = ""
    """The side that lacks it, if one does."""

    def count(self, verdict: Verdict) -> int:
        return sum(metric.verdict == verdict for metric in self.metrics)

    @property
    def diverged(self) -> bool:
        return not self.same_files or self.count("identical") < len(self.metrics)


def verdict_of(recorded: float | None, rerun: float | None, tolerance: float) -> Verdict:
    """`identical` to the last bit, `within` a relative tolerance, else `different`, as where one side has no value."""
    if recorded is None or rerun is None:
        return "different"
    if recorded == rerun or (math.isnan(recorded) and math.isnan(rerun)):
        return "identical"
    return "within" if math.isclose(recorded, rerun, rel_tol=tolerance, abs_tol=ZERO if tolerance else 0.0) else "different"


def judge(recorded: Sequence[Step], rerun: Sequence[Step], tolerance: float = TOLERANCE) -> list[Judged]:
    """A verdict for each step of either side, in the order of the recorded chain.

    Of two steps of a name the first counts: the second measures the champion of that time, which a rerun has not got.
    """
    ours, theirs = ({step.name: step for step in reversed(side)} for side in (recorded, rerun))
    names = dict.fromkeys([*(step.name for step in recorded), *(step.name for step in rerun)])
    makers = {step.made: step.name for step in recorded if step.made}
    return [_judge(name, ours.get(name), theirs.get(name), tolerance, makers) for name in names]


def _judge(name: str, one: Step | None, other: Step | None, tolerance: float, makers: Mapping[str, str]) -> Judged:
    sides = [timeless(step.metrics) if step else {} for step in (one, other)]
    metrics = [
        Measured(metric, sides[0].get(metric), sides[1].get(metric), verdict_of(sides[0].get(metric), sides[1].get(metric), tolerance))
        for metric in sorted({*sides[0], *sides[1]})
    ]
    if one is None or other is None:
        return Judged(name, metrics, False, {}, "the recorded run" if one is None else "the rerun")
    return Judged(name, metrics, one.made == other.made, differences(one, other, makers))


def timeless(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that are not of time and cost."""
    return {name: value for name, value in metrics.items() if not any(part in name for part in TIMES)}


def differences(one: Step, other: Step, makers: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """What two runs of a step differ in, by what a person calls it; `makers` has the step that made each digest."""
    found: dict[str, list[str]] = {}
    for part in dict.fromkeys([*one.parts, *other.parts]):
        before, after = one.parts.get(part), other.parts.get(part)
        if before == after or part == "key":
            continue
        if part == "inputs":
            _inputs(before or {}, after or {}, makers or {}, found)
        elif part == "code":
            found.setdefault("code", []).append(f"{str(other.parts.get('step', 'its module')).partition(':')[0]} or what it imports")
        else:
            found.setdefault(PARTS.get(part, part), []).extend(changes(before, after))
    if one.hardware and other.hardware and one.hardware != other.hardware:
        found.setdefault("hardware", []).extend(changes(one.hardware, other.hardware))
    return found


def _inputs(before: Mapping[str, str], after: Mapping[str, str], makers: Mapping[str, str], found: dict[str, list[str]]) -> None:
    for label in dict.fromkeys([*before, *after]):
        if before.get(label) != after.get(label):
            maker = makers.get(before.get(label, "")) or makers.get(after.get(label, ""))
            found.setdefault("earlier step" if maker else "data", []).append(f"{label}, made by {maker}" if maker else label)


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """Each leaf in which two values differ, as `path: before -> after`."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            line
            for name in dict.fromkeys([*before, *after])
            for line in changes(before.get(name, "nothing"), after.get(name, "nothing"), f"{path}.{name}" if path else str(name))
        ]
    return [] if before == after else [f"{path}: {before} -> {after}" if path else f"{before} -> {after}"]


def overall(judged: Sequence[Judged]) -> Verdict:
    """The worst verdict: `different` for any metric or missing step, `within` where files or metrics are not the same to the last bit."""
    if any(step.missing or step.count("different") for step in judged):
        return "different"
    return "within" if any(step.diverged for step in judged) else "identical"


def first_divergence(judged: Sequence[Judged]) -> Judged | None:
    """The first step of the chain whose files or metrics are not the same to the last bit."""
    return next((step for step in judged if step.diverged), None)


def explained(step: Judged) -> str:
    """What differs at the first step that diverged, in words."""
    if step.missing:
        return f"the chain: {step.missing} does not have this step"
    if step.differs:
        return "; ".join(f"{kind} ({', '.join(what)})" for kind, what in step.differs.items())
    if step.same_files:
        return "nothing but what is recorded: both sides made the same files, byte for byte, so a metric was changed after it was logged"
    return "nothing that is recorded: same code, config, data, libraries and hardware, so the step does not compute the same twice"
