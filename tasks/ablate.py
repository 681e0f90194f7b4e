"""An ablation: each arm of a grid trained and measured with each seed, and what the arms differ by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from prefect import task

from factloop.faults import kill_point
from factloop.statistics import LOWER_IS_BETTER, Estimate, holm
from factloop.statistics.crossed import crossed_difference, crossed_mean

from .data import Data
from .environment import STATE
from .gate import examples
from .grids import Grid
from .judges import Judges, judge_settings
from .memo import Context, Done, once
from .profiles import Profile, ProfileError
from .report import save_page
from .summarizer import Validation, contrastive_step

ALARM = 0.05
Found = dict[str, list[Done]]
"""By arm, the evaluation with each seed."""


@dataclass(frozen=True)
class Cell:
    """One metric of one arm, over seeds and examples."""

    arm: str
    metric: str
    mean: Estimate
    difference: Estimate | None
    """Less the reference arm; None for that itself."""
    p: float | None
    """Adjusted by Holm for all comparisons of the table."""
    verdict: str


@task(task_run_name="train-{arm}-seed-{seed}")
def train_arm(context: Context, profile: Profile, arm: str, seed: int, model: Done, scores: Done, by: Validation) -> Done:
    """The MLE model trained further; not registered, for it is measured and not used."""
    step, config, inputs = contrastive_step(profile, asdict(profile.summarizer.contrast), seed, model, scores, by)
    return once(context, f"train-{arm}-seed-{seed}", step, config=config, inputs=inputs)


@task(task_run_name="evaluate-{arm}-seed-{seed}")
def evaluate_arm(context: Context, profile: Profile, arm: str, seed: int, data: Data, model: Done, judges: Judges) -> Done:
    """Measured as `retrain` does. The settings of the arm are parameters of this run, for MLflow to plot its metrics against."""
    inside = model if model.version else replace(model, path=str(Path(model.path) / "model"))
    shown = (
        {"arm": arm, "score": profile.summarizer.score, "contrast": asdict(profile.summarizer.contrast)}
        if not model.version
        else {"arm": arm}
    )
    return once(
        context, f"evaluate-{arm}-seed-{seed}", "factloop.steps.summaries:evaluate",
        config={
            **judge_settings(profile), "decoding": profile.summarizer.decoding.__dict__,
            "examples": profile.test_examples, "meteor": profile.meteor, "seed": seed, **shown,
        },
        inputs={**judges, "model": inside, "summaries": data["summaries.test"]},
    )  # fmt: skip


def values_of(evaluations: Sequence[Done], metric: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[seeds, examples], nan where an example has no score."""
    rows = [examples(done) for done in evaluations]
    if metric not in rows[0][0]["scores"]:
        raise ProfileError(f"the grid's metric {metric!r} is no score of the examples; there are {', '.join(rows[0][0]['scores'])}")
    return np.array([[row["scores"][metric] for row in one] for one in rows], dtype=float)


def compared(grid: Grid, found: Found) -> list[Cell]:
    """The table: every metric of every arm, and its difference to the reference on the same seeds and examples."""
    values = {(arm, metric): values_of(done, metric) for metric in grid.metrics for arm, done in found.items()}
    differences = {
        (arm, metric): crossed_difference(table, values[grid.reference, metric])
        for (arm, metric), table in values.items()
        if arm != grid.reference
    }
    adjusted = holm({cell: p for cell, (_, p) in differences.items()})
    cells = []
    for (arm, metric), table in values.items():
        difference, p = differences.get((arm, metric), (None, None))[0], adjusted.get((arm, metric))
        cells.append(Cell(arm, metric, crossed_mean(table), difference, p, _verdict(metric, difference, p)))
    return cells


def _verdict(metric: str, difference: Estimate | None, p: float | None) -> str:
    if difference is None or p is None:
        return "reference"
    if p >= ALARM:
        return "not surely different"
    return "better" if (difference.value < 0) == (metric in LOWER_IS_BETTER) else "worse"


def parallel_plot(grid: Grid, found: Found, cells: Sequence[Cell]) -> Any:
    """A line for each arm and seed over the metrics, the better end of each axis up.

    An axis reaches as far as the widest of the arms' intervals, so that what is within them looks small.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(2.2 + 2.2 * len(grid.metrics), 4.5))
    lines: dict[str, list[Any]] = {arm: [] for arm in found}
    for place, metric in enumerate(grid.metrics):
        means = {arm: np.nanmean(values_of(done, metric), 1) for arm, done in found.items()}
        every = [*np.concatenate(list(means.values())), *(end for c in cells if c.metric == metric for end in (c.mean.low, c.mean.high))]
        worst, best = (max(every), min(every)) if metric in LOWER_IS_BETTER else (min(every), max(every))
        for arm, values in means.items():
            lines[arm].append((values - worst) / ((best - worst) or 1.0))
        axis.axvline(place, color="#9aa4b1", linewidth=0.8, zorder=0)
        for y, value, side in ((-0.03, worst, "top"), (1.03, best, "bottom")):
            axis.text(place, y, f"{value:.3g}", ha="center", va=side, fontsize=8)
    for number, (arm, heights) in enumerate(lines.items()):
        for index, line in enumerate(np.array(heights).T):
            axis.plot(
                range(len(line)), line, color=f"C{number}", alpha=0.8, linewidth=1.4, marker="o", markersize=3, label=None if index else arm
            )
    axis.set_xticks(range(len(grid.metrics)), [f"{name}\n(lower is better)" if name in LOWER_IS_BETTER else name for name in grid.metrics])
    axis.tick_params(axis="x", length=0, pad=14)
    axis.set_yticks([])
    axis.set_ylim(-0.02, 1.02)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    figure.tight_layout()
    return figure


@task(task_run_name="ablation")
def record_ablation(context: Context, grid: Grid, seeds: list[int], found: Found, diverged: dict[str, str]) -> tuple[list[Cell], Path]:
    """Log table, plot and figures with the parent run; returns the table and the folder of the files."""
    cells = compared(grid, found)
    folder = STATE / "reports" / f"ablation-{context.parent}"
    told = {
        "grid": grid.model_dump(), "seeds": seeds, "diverged": diverged, "cells": [asdict(cell) for cell in cells],
        "runs": {arm: [done.run_id for done in evaluations] for arm, evaluations in found.items()},
    }  # fmt: skip
    save_page(folder / "ablation.json", json.dumps(told, indent=1), "ablation")
    scratch = folder / "plot.unfinished"
    parallel_plot(grid, found, cells).savefig(scratch, format="png", dpi=110)
    scratch.replace(folder / "ablation.png")
    client = MlflowClient()
    client.log_artifacts(context.parent, str(folder), "ablation")
    kill_point("ablation:logged")
    metrics: dict[str, float] = {}
    for cell in cells:
        estimates = {cell.metric: cell.mean} | ({f"{cell.metric}/difference": cell.difference} if cell.difference else {})
        for name, e in estimates.items():
            metrics |= {f"{cell.arm}/{name}{suffix}": value for suffix, value in (("", e.value), (".low", e.low), (".high", e.high))}
        metrics |= {f"{cell.arm}/{cell.metric}/p": cell.p} if cell.p is not None else {}
    client.log_batch(context.parent, metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()])
    kill_point("ablation:measured")
    return cells, folder
