"""What a person sees in the terminal while a flow runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from factloop.statistics import Estimate

from .memo import Done
from .profiles import Profile

console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 140)


def planned_work(profile: Profile) -> dict[str, float]:
    """Each step's share of the whole, roughly in examples that go through a model."""

    def cost(training: Any) -> float:
        return float((training.steps or 1000 * training.epochs) * training.batch_size) if training else 0.0

    tables, summaries, qags = profile.tables, profile.summarizer, profile.judges.qags_models
    scored = summaries.candidates.documents * (1 + summaries.candidates.per_document)
    round_again = {
        "candidates": float(summaries.candidates.documents),
        "scores": scored * 2.0,
        "summarizer-contrastive": cost(summaries.contrast.training) * 2,
    }
    return {
        "base": cost(profile.base.denoising) * 1.5,
        "qagen-training": cost(profile.judges.qagen) * 2.5,
        "qagen-gate": cost(profile.judges.qagen) * 2.5,
        "answer-extractor-gate": cost(qags and qags.answer_extractor),
        "question-generator-gate": cost(qags and qags.question_generator) * 2,
        "question-answerer-gate": cost(qags and qags.question_answerer) * 4,
        "factcc-gate": cost(profile.judges.factcc_model),
        "judge-training": profile.test_examples * 6,
        "judge-gate": profile.test_examples * 6,
        "table-question-generator": cost(tables.question_generator),
        "written-questions": profile.test_examples,
        "table-qa-pretraining": cost(tables.pretraining),
        "table-qa": cost(tables.fine_tuning),
        "table-qa-plain": cost(tables.fine_tuning),
        "summarizer-mle": cost(summaries.likelihood),
        **round_again,
        "summarizer-positive-only": cost(summaries.contrast.training),
        "evaluate": profile.test_examples * 10,
        # A later round may not come.
        **{f"{name}-round-{number}": work for number in range(2, summaries.rounds + 1) for name, work in round_again.items()},
    }


TIMED = 0.02  # how much of what is left must have been timed before more is said of it


class Steps:
    """Tells of each step as it ends, and from the pace so far how long the rest will take."""

    def __init__(self, profile: Profile) -> None:
        self.left, self.finished = planned_work(profile), 0.0
        self.records: list[Done] = []
        self.spent = 0.0
        self.started = time.monotonic()

    def done(self, step: Done) -> Done:
        """Take note of a finished step and pass it on."""
        work = self.left.pop(step.name, 0.0)
        self.records.append(step)
        if step.reused:
            line = "reused"
        else:
            if work:  # loading a pretrained base says nothing of the pace
                self.finished, self.spent = self.finished + work, self.spent + step.seconds
            line = f"{step.seconds:6.0f} s  ({step.why})"
        work_left = sum(self.left.values())
        # One small step says little of the pace, and of a run that goes on it may be the first that is timed.
        left = work_left * self.spent / self.finished if self.finished > TIMED * work_left else 0
        ahead = f"   about {max(1, round(left / 60))} min left" if left > 30 and not step.reused else ""
        say(f"[bold]{step.name:26}[/bold] {line}{ahead}")
        return step


def say(text: str) -> None:
    console.print(text, highlight=False)


def metric_table(title: str, columns: dict[str, Done], names: list[str]) -> Table:
    """Metrics down, systems across, each with its interval."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("metric")
    for column in columns:
        table.add_column(column)
    for name in names:
        cells = [interval_text(done.metrics, name) for done in columns.values()]
        if any(cells):
            table.add_row(name, *cells)
    return table


def number(value: float) -> str:
    """Three decimals, one from 10 on; empty for what is not a number."""
    return "" if value != value else f"{value:.{1 if abs(value) >= 10 else 3}f}"


def signed(found: Estimate) -> str:
    """A difference with its interval."""
    digits = 1 if max(abs(found.low), abs(found.high)) >= 10 else 3
    return f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def interval_text(metrics: Mapping[str, float], name: str) -> str:
    if name not in metrics:
        return ""
    digits = 1 if abs(metrics[name]) >= 10 else 3
    text = f"{metrics[name]:.{digits}f}"
    if f"{name}.low" in metrics:
        text += f"  [{metrics[f'{name}.low']:.{digits}f}, {metrics[f'{name}.high']:.{digits}f}]"
    return text
