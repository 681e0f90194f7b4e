"""What must hold of a clone's stores at every moment, and what a whole chain left in them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import yaml
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from factloop.training.checkpoints import is_complete
from tasks.keys import digest, folder_digests
from tasks.verdicts import timeless


class Killed(BaseException):
    """Stands for a SIGKILL where a test kills within its own process."""


def _client(folder: Path) -> MlflowClient | None:
    database = folder / ".factloop" / "mlflow.db"
    return MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}") if database.exists() else None


def _runs(client: MlflowClient, profile: str) -> list[Run]:
    experiment = client.get_experiment_by_name(f"factloop-{profile}")
    return list(client.search_runs([experiment.experiment_id], max_results=1000)) if experiment else []


def _files(client: MlflowClient, run: Run) -> Path:
    model = run.data.tags.get("model_id")
    location = f"{client.get_logged_model(model).artifact_location}/artifacts/model" if model else f"{run.info.artifact_uri}/files"
    return Path(urlparse(location).path)


def data_digests(folder: Path, profile: str) -> dict[str, str]:
    return {name: found for name, found in folder_digests(folder / "data" / profile).items() if ".unfinished" not in name}


def flaws(folder: Path, profile: str, data: dict[str, str]) -> Iterator[str]:
    """Everything that must not be so, whenever the run was killed; `data` are the digests of whole data files."""
    state = folder / ".factloop"
    for name, found in data_digests(folder, profile).items():
        if data.get(name) != found:
            yield f"data/{profile}/{name} is partial"
    lock = state / "dvc.lock.before"
    if not lock.exists():
        lock = folder / "dvc.lock"
    if "stages" not in yaml.load(lock.read_text(), yaml.CSafeLoader):
        yield f"{lock} is partial, and nothing says so"
    for checkpoint in state.glob("work/*/checkpoints/step-*"):
        if not is_complete(checkpoint):
            yield f"{checkpoint} is partial"
    for report in state.glob("reports/*.html"):
        if not report.read_text().rstrip().endswith("</html>"):
            yield f"{report} is partial"
    client = _client(folder)
    if client is None or not client.search_experiments():
        return
    runs = _runs(client, profile)
    for key, count in Counter(run.data.tags["run_key"] for run in runs if "corrupt" not in run.data.tags).items():
        if count > 1:
            yield f"key {key} has {count} runs"
    whole = {run.info.run_id: run for run in runs if "digest" in run.data.tags}
    for run in whole.values():
        if digest(folder_digests(_files(client, run))) != run.data.tags["digest"] and "corrupt" not in run.data.tags:
            yield f"finished run {run.info.run_id} ({run.data.tags['step']}) is not what it says"
    versions = client.search_model_versions(max_results=1000)
    for (name, key), count in Counter((v.name, v.tags["run_key"]) for v in versions if v.run_id not in _corrupt(runs)).items():
        if count > 1:
            yield f"{name} has {count} versions of key {key}"
    for model in client.search_registered_models(max_results=1000):
        for alias, number in model.aliases.items():
            if client.get_model_version(model.name, number).run_id not in whole:
                yield f"{model.name}@{alias} is version {number}, whose run is not finished"


def _corrupt(runs: list[Run]) -> set[str]:
    return {run.info.run_id for run in runs if "corrupt" in run.data.tags}


def outcome(folder: Path, profile: str) -> dict[str, Any]:
    """All that an undisturbed chain and a killed one have in common: by step, and of the registry."""
    client = _client(folder)
    assert client is not None
    runs = _runs(client, profile)
    corrupt = _corrupt(runs)
    steps: dict[str, Any] = {}
    for run in runs:
        if run.info.run_id in corrupt:
            continue
        tags = run.data.tags
        metrics = timeless(run.data.metrics)
        logged = sorted(item.path for item in client.list_artifacts(run.info.run_id, "origin"))
        steps[tags["step"]] = {
            "status": run.info.status,
            "error": tags.get("error"),
            "key": tags["run_key"],
            "digest": tags.get("digest"),
            "metrics": metrics,
            "curves": {name: len(client.get_metric_history(run.info.run_id, name)) for name in metrics if name.startswith("train/")},
            "params": run.data.params,
            "described": any(item.path == "key.json" for item in client.list_artifacts(run.info.run_id)),
            "inputs": sorted(Path(item.dataset.name).name for item in (run.inputs.dataset_inputs if run.inputs else ())),
            "origin": logged,
        }
    aliases = {
        f"{model.name}@{alias}": client.get_model_version(model.name, number).tags["run_key"]
        for model in client.search_registered_models(max_results=1000)
        for alias, number in model.aliases.items()
    }
    versions = sorted((v.name, v.tags["run_key"]) for v in client.search_model_versions(max_results=1000) if v.run_id not in corrupt)
    experiment = client.get_experiment_by_name(f"factloop-{profile}")
    assert experiment
    of_run = {run.info.run_id: run.data.tags["step"] for run in runs}
    traces = client.search_traces(locations=[experiment.experiment_id], max_results=500, include_spans=False)
    models = [model.source_run_id for model in client.search_logged_models([experiment.experiment_id])]
    found: dict[str, Any] = json.loads(
        json.dumps(
            {
                "steps": steps,
                "aliases": aliases,
                "versions": versions,
                "logged models": len(set(models) - corrupt),
                "traces": dict(Counter(of_run.get(trace.info.trace_metadata.get("mlflow.sourceRun", ""), "unknown") for trace in traces)),
                "logged twice": [run for run, count in Counter(models).items() if count > 1],
                "work": [path.name for path in (folder / ".factloop" / "work").iterdir()],
                "data": data_digests(folder, profile),
            }
        )
    )
    return found


def under_way(folder: Path, profile: str) -> str:
    """What a killed run was at: the data, a step that has begun and not ended, or something between steps."""
    if (folder / ".factloop" / "dvc.lock.before").exists():
        return "data"
    client = _client(folder)
    runs = _runs(client, profile) if client else []
    begun = [run.data.tags["step"] for run in runs if "mlflow.parentRunId" in run.data.tags and "digest" not in run.data.tags]
    return begun[0] if begun else "between steps" if runs else "before the data"


def step_files(folder: Path, profile: str, step: str) -> Path:
    """Where the files of a step's finished run lie."""
    client = _client(folder)
    assert client is not None
    (run,) = (run for run in _runs(client, profile) if run.data.tags["step"] == step and "corrupt" not in run.data.tags)
    return _files(client, run)


def flip(path: Path) -> None:
    """Change one bit and neither size nor times, as a failing disk does."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
