"""The promotion gate: the alias `champion` moves last, or does not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from prefect import task

from factloop.corpora.rows import read_rows
from factloop.faults import kill_point
from factloop.statistics import Estimate, Verdict, compare_examples, decide

from .environment import ROOT
from .memo import Context, Done
from .serving import aliased


@dataclass(frozen=True)
class Gated:
    """What the gate said of one registered model."""

    model: str
    version: str
    outcome: str
    reason: str
    differences: dict[str, Estimate]
    """Candidate less champion; empty where there was none."""


def examples(evaluation: Done) -> list[dict[str, Any]]:
    return list(read_rows(Path(evaluation.path) / "examples.jsonl"))


def limits(profile: str, model: str) -> dict[str, Any]:
    declared = yaml.safe_load((ROOT / "mlflow" / "gates.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = declared.get(profile, declared["default"])[model]
    return found


@task(task_run_name="compare-{label}")
def compare(context: Context, label: str, candidate: Done, other: Done) -> dict[str, Estimate]:
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
def gate(context: Context, model: str, candidate: Done, evaluation: Done, champion_evaluation: Done | None) -> Gated:
    """Decide on a candidate version and, if it is better, move the alias to it."""
    client, registered = MlflowClient(), f"{context.profile}-{model}"
    now = aliased(client, registered, "champion")
    if now and now.run_id == candidate.run_id:
        before = client.get_model_version(registered, now.version).tags
        return Gated(model, str(now.version), "champion", before.get("gate_reason", "it is the champion already"), {})
    if now and champion_evaluation is None:
        raise ValueError(f"{registered} has a champion (version {now.version}) that was not evaluated beside the candidate")
    differences = compare_examples(examples(evaluation), examples(champion_evaluation)) if champion_evaluation else None
    verdict: Verdict = decide(evaluation.metrics, limits(context.profile, model), differences)
    version = str(candidate.version)
    told = {"gate_outcome": verdict.outcome, "gate_reason": verdict.reason, "champion_before": str(now.version) if now else "none"}
    for name, value in told.items():
        client.set_model_version_tag(registered, version, name, value)
    kill_point("gate:told", model)
    client.set_registered_model_alias(registered, "challenger", version)
    if differences:
        client.log_dict(context.parent, {name: asdict(value) for name, value in differences.items()}, f"gate/{model}.json")
    kill_point("gate:challenged", model)
    if verdict.outcome == "promote":
        client.set_registered_model_alias(registered, "champion", version)
        kill_point("gate:promoted", model)
    return Gated(model, version, verdict.outcome, verdict.reason, differences or {})
