"""Evaluations and model versions made by hand, through MLflow's API: what a store holds without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from factloop.corpora.rows import write_rows
from tasks.keys import digest, folder_digests

WORDS = ["Mara", "Velling", "wrote", "Silent", "Harbour", "in", "1984", "and", "moved", "to", "Kelso", "with", "Jonas", "Falk"]


def summary_rows(count: int, better: float = 0.0, seed: int = 0) -> list[dict[str, Any]]:
    """Per-example rows as an evaluation of summaries writes them; the same documents for any `seed` and `better`."""
    asked, rng = np.random.default_rng(99), np.random.default_rng(seed)
    rows = []
    for place in range(count):
        document = " ".join(asked.choice(WORDS, int(asked.integers(20, 90))))
        matches = np.minimum(int(rng.integers(2, 9)) + np.array([2, 1, 0, 0]), [10, 9, 8, 7])
        right = bool(rng.random() < 0.5 + better)
        row: dict[str, Any] = {"id": f"document-{place}", "document": document, "reference": "Mara wrote."}
        row["output"] = f"<b>{' '.join(rng.choice(WORDS, 6))}"
        row["scores"] = {"rougeL": float(rng.beta(4, 3) * 100 + 20 * better), "quals": float(rng.normal(better, 0.3))}
        row["scores"] |= {"hallucination_rate": float(not right), "qags": None if place % 9 == 0 else float(rng.random())}
        row["bleu_statistics"] = [*map(float, matches), 10.0, 9.0, 8.0, 7.0, 10.0, 10.0]
        row["statements"] = [{"sentence": "Mara.", "verdict": "supported" if right else "contradicted"}]
        rows.append(row)
    return rows


def finished_run(client: MlflowClient, experiment: str, scratch: Path, step: str, files: dict[str, Any], **tags: str) -> str:
    """A finished run of a step with its files, sealed by their digest as `once` does; returns its id."""
    run = client.create_run(experiment, run_name=step, tags={"step": step, "profile": "smoke", "data_version": "d1"} | tags)
    folder = scratch / run.info.run_id
    folder.mkdir(parents=True)
    for name, content in files.items():
        write_rows(folder / name, content)
    client.log_artifacts(run.info.run_id, str(folder), "files")
    sealed = {"digest": digest(folder_digests(folder)), "run_key": digest([step, tags, run.info.run_id])} | tags
    for name, value in sealed.items():
        client.set_tag(run.info.run_id, name, value)
    client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def evaluation(
    client: MlflowClient, experiment: str, scratch: Path, rows: list[dict[str, Any]], step: str = "evaluate-summarizer-contrastive",
    model: str = "m", settings: dict[str, Any] | None = None, **tags: str,
) -> str:  # fmt: skip
    """A finished evaluation of these rows; returns its run id."""
    told = {"judge_keys": "qagen-training:aaa qagen-gate:bbb", "of_model": model} | tags
    run_id = finished_run(client, experiment, scratch, step, {"examples.jsonl": rows}, **told)
    key = {
        "step": "evaluate",
        "config": {"quals": settings or {"groups": 8}},
        "inputs": {"model": model},
        "code": "c",
        "libraries": {"numpy": "2"},
    }
    client.log_dict(run_id, key, "key.json")
    means = {name: float(np.mean([row["scores"][name] for row in rows if row["scores"][name] is not None])) for name in rows[0]["scores"]}
    client.log_batch(run_id, metrics=[Metric(name, value, 0, 0) for name, value in means.items()])
    return run_id


def parent(client: MlflowClient, experiment: str, steps: dict[str, str], **tags: str) -> str:
    """A finished retrain that took these steps, name to run id."""
    run = client.create_run(experiment, run_name="retrain", tags={"step": "retrain", "profile": "smoke", "data_version": "d1"} | tags)
    client.log_dict(run.info.run_id, {"steps": [{"name": name, "run_id": run_id} for name, run_id in steps.items()]}, "steps.json")
    client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def version(client: MlflowClient, experiment: str, scratch: Path, registered: str, weights: str) -> str:
    """A registered version of a model whose one file holds `weights`; returns its number."""
    run_id = finished_run(client, experiment, scratch, "summarizer-contrastive", {"weights": [{"w": weights}]})
    if not client.search_registered_models(f"name = '{registered}'"):
        client.create_registered_model(registered)
    source = f"{client.get_run(run_id).info.artifact_uri}/files"
    return str(client.create_model_version(registered, source, run_id, tags={"run_key": run_id}).version)
