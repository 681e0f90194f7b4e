"""MLflow is the memo: each step runs once for its key, however often it is asked for.

A step takes a lease on its key, looks for a finished run with that key, verifies its files and
returns it. Else it goes on with the unfinished run of a killed process, from that run's newest
checkpoint, or starts one. A model is registered before its run is finished and found again by
its key, so it has one version.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

import mlflow
from factloop.faults import kill_point

from .environment import ROOT, STATE
from .keys import digest, file_digest, folder_digests, run_key
from .serving import Served, log_model

Step = Callable[..., dict[str, Any]]
"""A library step: (config, inputs, out, progress) -> metrics, numbers or {value, low, high}."""
FILES = "files"  # artifact folder of what a step wrote beside its model


@dataclass(frozen=True)
class Context:
    """What all steps of one flow run share."""

    experiment: str
    parent: str
    """Run id of the parent run."""
    profile: str
    device: str
    threads: int
    """CPU threads that torch computes with: their number shapes rounding, so it is part of keys."""
    tags: dict[str, str]


@dataclass(frozen=True)
class Done:
    """A finished step. Its files lie under `path`, on this machine."""

    name: str
    run_id: str
    key: str
    path: str
    digest: str
    """Over the names and contents of the files: what later steps depend on."""
    metrics: dict[str, float]
    seconds: float
    reused: bool
    why: str
    version: str | None = None
    """Of the registered model, where the step makes one."""

    def file(self, name: str) -> tuple[str, str]:
        """One of its files as an input: path and SHA-256."""
        path = Path(self.path) / name
        return str(path), file_digest(path)


class Conflict(RuntimeError):
    """Another process is on the same step."""


@contextmanager
def lease(key: str, wait: float = 0) -> Any:
    """Hold a key on this machine; the kernel gives it back however the holder dies."""
    (STATE / "leases").mkdir(parents=True, exist_ok=True)
    lock = FileLock(STATE / "leases" / f"{key}.lock", timeout=wait)
    try:
        lock.acquire()
    except Timeout:
        raise Conflict(
            f"another process holds {key}: two runs were started at once; let the first end, then start this one again"
        ) from None
    try:
        yield
    finally:
        lock.release()


@dataclass
class RunProgress:
    """Writes a training curve to a run as it grows; what a killed run has logged is not logged twice."""

    name: str
    client: MlflowClient
    run_id: str
    logged: dict[str, int] = field(default_factory=dict)

    def log(self, metrics: dict[str, float], step: int) -> None:
        fresh = {}
        for name, value in metrics.items():
            if name not in self.logged:
                history = self.client.get_metric_history(self.run_id, f"train/{name}")
                self.logged[name] = max((point.step for point in history), default=-1)
            if step > self.logged[name]:
                fresh[name], self.logged[name] = value, step
        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(f"train/{name}", value, now, step) for name, value in fresh.items()])


def _find(client: MlflowClient, experiment: str, key: str, finished: bool) -> Run | None:
    """The oldest run of a key that is finished, or that is not; runs found corrupt do not count.

    A run is finished when it has a digest, which is set after all else: MLflow itself marks runs
    finished while their files and models are still being logged.
    """
    found = client.search_runs([experiment], f"tags.run_key = '{key}'", order_by=["attributes.start_time ASC"], max_results=50)
    fit = (run for run in found if "corrupt" not in run.data.tags)
    return next((run for run in fit if ("digest" in run.data.tags and run.info.status == "FINISHED") == finished), None)


def artifact_folder(run: Run, model_id: str | None) -> Path:
    """Where the files of a run are on this machine; fetched if its store is another machine's."""
    location = f"{run.info.artifact_uri}/{FILES}"
    if model_id:
        location = f"{mlflow.get_logged_model(model_id).artifact_location}/artifacts/model"
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=location))


def _recall(run: Run, name: str) -> Done | None:
    """The finished step as recorded; None, and marked corrupt, if its files changed since."""
    tags = run.data.tags
    try:
        path = artifact_folder(run, tags.get("model_id"))
        found = digest(folder_digests(path))
    except (OSError, mlflow.MlflowException) as error:
        path, found = Path(), str(error)
    if found != tags.get("digest"):
        MlflowClient().set_tag(run.info.run_id, "corrupt", f"files under {path} have digest {found}, recorded was {tags.get('digest')}")
        print(f"{name}: the files of run {run.info.run_id} are damaged; it is done again", flush=True)
        return None
    return Done(
        name, run.info.run_id, tags["run_key"], str(path), found, dict(run.data.metrics), float(tags.get("seconds", 0)), True,
        "same code, config, data and libraries", tags.get("model_version"),
    )  # fmt: skip


def recall_version(name: str, version: Any) -> Done:
    """A registered model version as the finished step that made it; raises if it is damaged."""
    done = _recall(MlflowClient().get_run(version.run_id), name)
    if done is None:
        raise OSError(f"{version.name} version {version.version}, which is in use, is damaged; move its alias to another version")
    return done


def _why_not_reused(client: MlflowClient, context: Context, name: str, parts: Mapping[str, Any]) -> str:
    """What changed since the newest finished run of the same step."""
    newest = client.search_runs(
        [context.experiment],
        f"tags.step = '{name}' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not newest:
        return "first time"
    before = json.loads(newest[0].data.tags.get("key_parts", "{}"))
    changed = [part for part, value in parts.items() if part != "key" and before.get(part) != digest(value)]
    return f"changed: {', '.join(changed)}" if changed else "asked for again"


def once(
    context: Context,
    name: str,
    step: Step,
    config: Mapping[str, Any],
    inputs: Mapping[str, Done | tuple[str, str]],
    served: Served | None = None,
) -> Done:
    """Run a library step once for its key and record it as a child run of the parent.

    `inputs` are earlier steps, or (path, digest) of data. `served` says how the model that the
    step leaves in `out/model` is logged and under which name it is registered.
    """
    import torch

    client = MlflowClient()
    paths = {label: Path(value.path if isinstance(value, Done) else value[0]) for label, value in inputs.items()}
    digests = {label: value.digest if isinstance(value, Done) else value[1] for label, value in inputs.items()}
    parts = run_key(step, {**config, "name": name, "threads": context.threads}, digests, context.device)
    key = parts["key"]
    with lease(key):
        finished = _find(client, context.experiment, key, finished=True)
        recalled = _recall(finished, name) if finished else None
        if recalled:
            _give_aliases(client, context, served, recalled)
            return recalled
        why = _why_not_reused(client, context, name, parts)
        run = _find(client, context.experiment, key, finished=False) or _start(client, context, name, parts)
        run_id = run.info.run_id
        client.update_run(run_id, status="RUNNING")
        work = STATE / "work" / key
        out = work / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        torch.set_num_threads(context.threads)
        started = time.perf_counter()
        try:
            metrics = step(
                config={**config, "device": context.device},
                inputs=paths, out=out, checkpoints=work / "checkpoints",
                progress=RunProgress(name, client, run_id),
            )  # fmt: skip
            kill_point(f"{name}:trained")
            done = _record(client, context, name, run, metrics, out, served, inputs, time.perf_counter() - started, why)
        except KeyboardInterrupt:
            client.set_terminated(run_id, "KILLED")
            raise
        except Exception as error:
            client.set_tag(run_id, "error", f"{type(error).__name__}: {error}"[:5000])
            client.set_terminated(run_id, "FAILED")
            raise
        _give_aliases(client, context, served, done)
        shutil.rmtree(work, ignore_errors=True)
        return done


def _give_aliases(client: MlflowClient, context: Context, served: Served | None, done: Done) -> None:
    if served:
        for alias in served.aliases:
            client.set_registered_model_alias(f"{context.profile}-{served.name}", alias, str(done.version))


def _start(client: MlflowClient, context: Context, name: str, parts: dict[str, Any]) -> Run:
    tags = context.tags | {
        "mlflow.parentRunId": context.parent,
        "step": name,
        "run_key": parts["key"],
        "key_parts": json.dumps({part: digest(value) for part, value in parts.items() if part != "key"}),
    }
    run = client.create_run(context.experiment, run_name=name, tags=tags)
    flat = _flatten(parts["config"])
    client.log_batch(run.info.run_id, params=[Param(label, str(value)[:6000]) for label, value in flat.items()])
    client.log_dict(run.info.run_id, parts, "key.json")
    return run


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for label, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{label}.")
        else:
            flat[f"{prefix}{label}"] = value
    return flat


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as MLflow takes them: an estimate becomes three, `.low` and `.high` beside it."""
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= {name: value["value"], f"{name}.low": value["low"], f"{name}.high": value["high"]}
        else:
            flat[name] = float(value)
    return flat


def as_dataset(path: str, found: str) -> MetaDataset:
    """A data file as MLflow's record of an input: name, digest and where it lies in the clone."""
    file = Path(path)
    inside = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a local path "can be interpreted in multiple ways", twice the same
        # Its base class declares `profile` abstract, yet MetaDataset is made to be instantiated.
        return MetaDataset(resolve_dataset_source(path), name=inside, digest=found[:36])  # type: ignore[abstract]


def _record(
    client: MlflowClient, context: Context, name: str, run: Run, metrics: Mapping[str, Any], out: Path,
    served: Served | None, inputs: Mapping[str, Done | tuple[str, str]], seconds: float, why: str,
) -> Done:  # fmt: skip
    """Files, model, metrics and version, each found again rather than made twice; status last."""
    run_id, key = run.info.run_id, run.data.tags["run_key"]
    flat = flat_metrics(metrics)
    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(label, value, now, 0) for label, value in flat.items()])
    with mlflow.start_run(run_id=run_id, nested=True):
        for label, value in inputs.items():
            if not isinstance(value, Done):
                mlflow.log_input(as_dataset(*value), context=label)
    model_id = version = None
    if served:
        model_id, version = log_model(client, run, key, name, out / "model", served, context)
    else:
        client.log_artifacts(run_id, str(out), FILES)
    kill_point(f"{name}:logged")
    path = artifact_folder(run, model_id)
    made = digest(folder_digests(out / "model" if served else out))
    if digest(folder_digests(path)) != made:
        raise OSError(f"{name}: what lies under {path} is not what was written there; delete that folder and run again")
    tags = {"digest": made, "seconds": f"{seconds:.1f}", "why": why}
    tags |= {"model_id": model_id, "model_version": version} if model_id and version else {}
    client.log_batch(run_id, tags=[RunTag(label, str(value)) for label, value in tags.items()])
    if "error" in client.get_run(run_id).data.tags:  # of an earlier attempt
        client.delete_tag(run_id, "error")
    client.set_terminated(run_id, "FINISHED")
    return Done(name, run_id, key, str(path), made, flat, seconds, False, why, version)
