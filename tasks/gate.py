"""The promotion gate: the alias `champion` moves last, or does not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from prefect import task

from factloop.corpora.rows import read_rows
from factloop.faults import kill_point
from factloop.statistics import Difference, Verdict, compare_examples, decide

from .gates import limits
from .history import LONGEST, crown, settle, settle_made
from .memo import Context, Done
from .profiles import Profile
from .serving import aliased


@dataclass(frozen=True)
class Gated:
    """What the gate said of one registered model."""

    model: str
    version: str
    outcome: str
    reason: str
    differences: dict[str, Difference]
    """Candidate less champion; empty where there was none."""


def examples(evaluation: Done) -> list[dict[str, Any]]:
    return list(each_example(evaluation))


def each_example(evaluation: Done) -> Iterator[dict[str, Any]]:
    """The same one at a time: with their evidence those of a large file are more than fits into memory."""
    return read_rows(Path(evaluation.path) / "examples.jsonl")


@task(task_run_name="compare-{label}")
def compare(context: Context, label: str, candidate: Done, other: Done) -> dict[str, Difference]:
    """Paired differences candidate - other, as metrics `difference/<label>/...` of the parent run."""
    found = compare_examples(examples(candidate), examples(other))
    metrics = {
        f"difference/{label}/{name}{suffix}": value
        for name, e in found.items()
        for suffix, value in (("", e.value), (".low", e.low), (".high", e.high))
    }
    MlflowClient().log_batch(context.parent, metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()])
    kill_point("gate:compared", label)
    return found


@task(task_run_name="gate-{candidate.name}")
def gate(context: Context, profile: Profile, model: str, candidate: Done, evaluation: Done, champion_evaluation: Done | None) -> Gated:
    """Decide on a candidate version and, if it is better, move the alias to it."""
    client, registered = MlflowClient(), f"{context.profile}-{model}"
    now = aliased(client, registered, "champion")
    if now and now.run_id == candidate.run_id:
        settle_made(client, registered)
        before = client.get_model_version(registered, now.version).tags
        return Gated(model, str(now.version), "champion", before.get("gate_reason", "it is the champion already"), {})
    if now and champion_evaluation is None:
        raise ValueError(f"{registered} has a champion (version {now.version}) that was not evaluated beside the candidate")
    differences = compare_examples(examples(evaluation), examples(champion_evaluation)) if champion_evaluation else None
    verdict: Verdict = decide(evaluation.metrics, limits(profile, model), differences)
    version = str(candidate.version)
    told = {"gate_outcome": verdict.outcome, "gate_reason": verdict.reason[:5000], "champion_before": str(now.version) if now else "none"}
    for name, value in told.items():
        client.set_model_version_tag(registered, version, name, value)
    kill_point("gate:told", model)
    client.set_registered_model_alias(registered, "challenger", version)
    if differences:
        asked = {name: value for name, value in verdict.asked.items() if math.isfinite(value)}
        measured = {"differences": {name: asdict(value) for name, value in differences.items()}, "promoted in 80% of tries at": asked}
        client.log_dict(context.parent, measured, f"gate/{model}.json")
    kill_point("gate:challenged", model)
    if verdict.outcome == "promote":
        settle(client, registered, crown(client, registered, version, "gate", verdict.reason[:LONGEST]))
    return Gated(model, version, verdict.outcome, verdict.reason, differences or {})
