"""The report of a retrain: one HTML file that needs nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from factloop.faults import kill_point
from factloop.statistics import Difference

from .console import interval_text, number, signed
from .data import Data
from .drawing import Curves, image
from .environment import ROOT, STATE
from .followed import lines_of, plot
from .gate import Gated, examples
from .memo import Context, Done
from .parent import log_steps
from .profiles import Profile

SHOWN = 20  # outputs side by side
CURVES = (
    "base",
    "qagen-training",
    "qagen-gate",
    "table-qa-pretraining",
    "table-qa",
    "table-qa-plain",
    "summarizer-mle",
    "summarizer-contrastive",
    "summarizer-positive-only",
)
LOSSES = ("loss", "positive_loss", "negative_loss", "long_loss", "short_loss")


@dataclass
class Story:
    """What happened in one retrain."""

    profile: Profile
    parent: str
    data: Data
    steps: list[Done]
    judges: dict[str, Done]
    tables: dict[str, Done]
    summaries: dict[str, Done]
    differences: dict[str, dict[str, Difference]]
    gates: list[Gated]
    gists: dict[str, str | None]
    """How far each judge can be trusted."""
    costs: dict[str, float]
    """What the steps that were made for this run took, and what a point gained over the champion cost."""
    report: Path = field(default_factory=Path)


@task(task_run_name="curves")
def draw_curves(steps: list[Done]) -> str:
    """Training losses as one PNG, as a data URL; drawn by a process of its own, so that the flow can go on meanwhile."""
    client = MlflowClient()
    curves: Curves = {}
    for step in steps:
        if re.sub(r"-round-\d+$", "", step.name) in CURVES:
            found = {name: client.get_metric_history(step.run_id, f"train/{name}") for name in LOSSES}
            curves[step.name] = {name: [(point.step, point.value) for point in points] for name, points in found.items() if points}
    # What it complains of goes where the flow's own complaints go.
    ran = subprocess.run(
        [sys.executable, "-m", "tasks.drawing"], cwd=ROOT, input=json.dumps(curves), stdout=subprocess.PIPE, text=True, check=True
    )
    return ran.stdout.strip()


def _side_by_side(evaluations: dict[str, Done], key: str) -> list[dict[str, Any]]:
    """The same test examples as every system answered them."""
    rows = {name: examples(done)[:SHOWN] for name, done in evaluations.items()}
    first = next(iter(rows.values()))
    return [
        {"input": row[key], "row": row, "outputs": {name: found[index] for name, found in rows.items()}} for index, row in enumerate(first)
    ]


def _with_interval(found: dict[str, Done]) -> list[str]:
    return sorted({name for done in found.values() for name in done.metrics if f"{name}.low" in done.metrics})


def page(template: str, **values: Any) -> str:
    """A template of this folder with values; whatever text they hold is shown as text."""
    environment = Environment(
        loader=FileSystemLoader(ROOT / "tasks"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"interval": interval_text, "number": number, "signed": signed}
    return environment.get_template(template).render(**values)


def save_page(path: Path, text: str, kind: str) -> None:
    """Write a page whole or not at all; `kind` tells its kill points from those of other pages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".unfinished")
    with scratch.open("w", encoding="utf-8") as stream:
        stream.write(text[: len(text) // 2])
        stream.flush()
        kill_point("page:half-written", kind)
        stream.write(text[len(text) // 2 :])
    kill_point("page:written", kind)
    scratch.replace(path)
    kill_point("page:renamed", kind)


def render(story: Story, curves: str, followed: str) -> str:
    return page(
        "report.html.jinja",
        story=story,
        curves=curves,
        followed=followed,
        config=json.dumps(story.profile.model_dump(mode="json"), indent=1),
        tables=[
            ("Summaries, measured by the gate judges", story.summaries, _with_interval(story.summaries)),
            ("Table question answering", story.tables, _with_interval(story.tables)),
            ("Judges: AUC of telling clean summaries from planted errors", story.judges, _with_interval(story.judges)),
        ],
        summaries=_side_by_side(story.summaries, "document"),
        answers=_side_by_side(story.tables, "question"),
    )


@task(task_run_name="report")
def write_report(context: Context, story: Story, curves: str) -> Path:
    """Write the report, attach it to the parent run and to Prefect."""
    path = STATE / "reports" / f"{story.profile.name}-{context.parent}.html"
    client, lines = MlflowClient(), lines_of(story.steps)
    figure = plot(lines) if lines else None
    if figure:
        client.log_figure(context.parent, figure, "validation.png")
    save_page(path, render(story, curves, image(figure) if figure else ""), "report")
    client.log_artifact(context.parent, str(path))
    kill_point("report:logged")
    log_steps(context, story.steps)
    headline: dict[str, float] = {}
    for prefix, done in (("summarizer", story.summaries["contrastive"]), ("table_qa", story.tables["pretrained"])):
        headline |= {f"{prefix}/{name}": value for name, value in done.metrics.items()}
    client.log_batch(context.parent, metrics=[Metric(name, value, 0, 0) for name, value in headline.items()])
    kill_point("report:measured")
    for gated in story.gates:
        client.set_tag(context.parent, f"gate.{gated.model}", f"{gated.outcome}: {gated.reason}"[:5000])
    kill_point("report:told")
    create_link_artifact(
        link=path.as_uri(), link_text="report", key=f"report-{story.profile.name}", description=f"retrain of {story.profile.name}"
    )
    create_markdown_artifact(
        key=f"gate-{story.profile.name}",
        markdown="\n".join(f"- **{gated.model}** version {gated.version}: {gated.outcome} ({gated.reason})" for gated in story.gates),
    )
    return path
