"""Does the truth follow the judge? What to plot of the rounds of contrast and of its trainings, and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.tracking import MlflowClient

from factloop.statistics import LOWER_IS_BETTER, Estimate

from .memo import Done

SECOND = ("hallucination_rate", "factcc", "qags", "quals", "values")  # what stands beside the score: one of them in an evaluation
ENDS = ("", ".low", ".high")


@dataclass(frozen=True)
class Line:
    """Evaluations on validation documents in order: of the rounds, or of the steps of one training."""

    name: str
    at: list[int]
    score: list[Estimate]
    second: list[Estimate]
    measure: str


def lines_of(steps: Sequence[Done]) -> list[Line]:
    """Those of a run; none where validation documents were not looked at."""
    rounds = [step.metrics for step in steps if step.name.startswith("validate-")]
    trained = {
        step.name: _in_training(step.run_id) for step in steps if step.name.startswith("summarizer-") and step.name != "summarizer-mle"
    }
    found = {"rounds": dict(enumerate(rounds))} | trained
    return [_line(name, seen) for name, seen in found.items() if seen]


def _in_training(run_id: str) -> dict[int, dict[str, float]]:
    """By step what was logged of an evaluation."""
    client, seen = MlflowClient(), dict[int, dict[str, float]]()
    for name in (f"{label}{end}" for label in ("score", *SECOND) for end in ENDS):
        for point in client.get_metric_history(run_id, f"train/validation/{name}"):
            seen.setdefault(point.step, {})[name] = point.value
    return seen


def _line(name: str, seen: dict[int, dict[str, float]]) -> Line:
    at = sorted(seen)
    measure = next(label for label in SECOND if label in seen[at[0]])
    score, second = ([Estimate(*(seen[place][f"{label}{end}"] for end in ENDS)) for place in at] for label in ("score", measure))
    return Line(name, at, score, second, measure)


def plot(lines: Sequence[Line]) -> Any:
    """A panel for each line: the judge's score on the left axis, the second measure on the right, each with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns, rows = min(3, len(lines)), -(-len(lines) // 3)
    figure, axes = pyplot.subplots(rows, columns, figsize=(4.6 * columns, 3.2 * rows), squeeze=False)
    for axis in axes.flat[len(lines) :]:
        axis.set_visible(False)
    for axis, line in zip(axes.flat, lines, strict=False):
        lower = " (lower is better)" if line.measure in LOWER_IS_BETTER else ""
        for side, color, label, values in (
            (axis, "C0", "score of the judge", line.score),
            (axis.twinx(), "C3", f"{line.measure}{lower}", line.second),
        ):
            side.plot(line.at, [found.value for found in values], color=color, marker="o", markersize=3)
            side.fill_between(
                line.at, [found.low for found in values], [found.high for found in values], color=color, alpha=0.15, linewidth=0
            )
            side.set_ylabel(label, color=color, fontsize=8)
            side.tick_params(labelsize=7)
        axis.set_title(line.name, fontsize=9)
        axis.set_xlabel("round" if line.name == "rounds" else "step", fontsize=8)
        axis.set_xticks(line.at)
    figure.tight_layout()
    return figure
