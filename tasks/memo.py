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
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from prefect.exceptions import TerminationSignal

import mlflow
from factloop.faults import kill_point

from .costs import Meter
from .environment import STATE
from .isolated import load, run_isolated, trains
from .keys import digest, file_digest, folder_digests, run_key
from .machine import hardware
from .profiles import Isolation
from .progress import SPOOL, RunProgress
from .record import Damaged, artifact_folder, describe, flat_metrics, record
from .serving import Served
from .tracking import begin, end, wait

OF_MODEL = "of_model"  # tag of a run that takes a model: its digest, to find a model's evaluations by


@dataclass(frozen=True)
class Context:
    """What all steps of one flow run share."""

    experiment: str
    parent: str
    """Run id of the parent run; empty for a run that has none."""
    profile: str
    device: str
    threads: int
    """CPU threads that torch computes with: their number shapes rounding, so it is part of keys."""
    tags: dict[str, str]
    isolation: Isolation | None = None
    """How steps run in processes of their own; None: in this one."""
    plan: Callable[[Context, str, dict[str, Any]], Done] | None = None
    """What stands for a step of this name and these key parts where none is to be run, only told of."""


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


def _runs(client: MlflowClient, experiment: str, key: str) -> tuple[Run | None, Run | None]:
    """The oldest run of a key that is finished, and the oldest that is not; runs found corrupt do not count.

    A run is finished when it has a digest, which is set after all else: MLflow itself marks runs
    finished while their files and models are still being logged.
    """
    found = client.search_runs([experiment], f"tags.run_key = '{key}'", order_by=["attributes.start_time ASC"], max_results=50)
    fit = [run for run in found if "corrupt" not in run.data.tags]

    def first(finished: bool) -> Run | None:
        return next((run for run in fit if ("digest" in run.data.tags and run.info.status == "FINISHED") == finished), None)

    return first(True), first(False)


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
        return None
    return Done(
        name, run.info.run_id, tags["run_key"], str(path), found, dict(run.data.metrics), float(tags.get("seconds", 0)), True,
        "same code, config, data and libraries", tags.get("model_version"),
    )  # fmt: skip


def find_done(client: MlflowClient, experiment: str, key: str, name: str) -> Done | None:
    """The finished step of a key; None where there is none, or where its files changed since, which marks it corrupt."""
    finished, _ = _runs(client, experiment, key)
    return _recall(finished, name) if finished else None


def recall_version(name: str, version: Any, remedy: str) -> Done:
    """A registered model version as the finished step that made it; raises Damaged if it is not as it was."""
    done = _recall(MlflowClient().get_run(version.run_id), name)
    if done is None:
        used = f", which is in use ({', '.join(version.aliases)})," if version.aliases else ""
        raise Damaged(f"{version.name} version {version.version}{used} is damaged; {remedy}")
    return done


def recall_run(run: Run) -> Done:
    """A finished run as the step that it was; raises Damaged if its files are not as they were."""
    done = _recall(run, run.data.tags["step"])
    if done is None:
        raise Damaged(f"the files of run {run.info.run_id} ({run.data.tags['step']}) are damaged; what made it, run again, makes it anew")
    return done


def newest_of(client: MlflowClient, experiment: str, name: str) -> Run | None:
    """The newest finished run of a step."""
    asked = f"tags.step = '{name}' and attributes.status = 'FINISHED'"
    found = client.search_runs([experiment], asked, order_by=["attributes.start_time DESC"], max_results=1)
    return found[0] if found else None


def _why_not_reused(client: MlflowClient, context: Context, name: str, parts: Mapping[str, Any]) -> str:
    """What changed since the newest finished run of the same step."""
    newest = newest_of(client, context.experiment, name)
    if not newest:
        return "first time"
    before = json.loads(newest.data.tags.get("key_parts", "{}"))
    changed = [part for part, value in parts.items() if part != "key" and before.get(part) != digest(value)]
    return f"changed: {', '.join(changed)}" if changed else "asked for again"


def once(
    context: Context,
    name: str,
    step: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, Done | tuple[str, str]],
    served: Served | None = None,
) -> Done:
    """Run a library step once for its key and record it as a child run of the parent.

    `step` is the name of its function, "module:function", which is loaded only to be run:
    (config, inputs, out, checkpoints, progress) -> metrics, numbers or {value, low, high}.
    `inputs` are earlier steps, or (path, digest) of data. `served` says how the model that the
    step leaves in `out/model` is logged and under which name it is registered.
    """
    client = MlflowClient()
    paths = {label: Path(value.path if isinstance(value, Done) else value[0]) for label, value in inputs.items()}
    digests = {label: value.digest if isinstance(value, Done) else value[1] for label, value in inputs.items()}
    parts = run_key(step, {**config, "name": name, "threads": context.threads}, digests, context.device)
    if context.plan:
        return context.plan(context, name, parts)
    key = parts["key"]
    wait(name)
    with lease(key):
        finished, unfinished = _runs(client, context.experiment, key)
        recalled = _recall(finished, name) if finished else None
        if finished and not recalled:
            print(f"{name}: the files of run {finished.info.run_id} are damaged; it is done again", flush=True)
        work = STATE / "work" / key
        if recalled:
            _give_aliases(client, context, served, recalled)
            shutil.rmtree(work, ignore_errors=True)
            return recalled
        why = _why_not_reused(client, context, name, parts)
        run = begin(client, unfinished, context.experiment, name, _tags(context, name, parts))
        run_id = run.info.run_id
        kill_point("run:created", name)
        describe(client, run_id, name, parts)
        if unfinished:
            client.update_run(run_id, status="RUNNING")
        kill_point("run:described", name)
        out = work / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        settings = {**config, "device": context.device}
        progress = RunProgress(name, client, run_id, work / SPOOL)
        meter = Meter(work / "spent.json", context.device, context.isolation.processes if context.isolation and trains(settings) else 1)
        started = time.perf_counter()
        try:
            with meter:
                if context.isolation:
                    metrics = run_isolated(step, name, run_id, context.threads, settings, paths, work, context.isolation)
                else:
                    run_step = load(step, context.threads)
                    metrics = run_step(config=settings, inputs=paths, out=out, checkpoints=work / "checkpoints", progress=progress)
            kill_point("step:ended", name)
            seconds, flat = time.perf_counter() - started, flat_metrics(metrics)
            data = {label: value for label, value in inputs.items() if not isinstance(value, Done)}
            tags = {
                "seconds": f"{seconds:.1f}",
                "why": why,
                "hardware": json.dumps(hardware(context.device)),
                "spent": json.dumps(meter.spent),
            }
            wait(name)
            progress.send()  # what is kept since the server was away
            path, made, version = record(client, context, name, run, flat, out, served, data, tags)
        except (KeyboardInterrupt, SystemExit, TerminationSignal) as error:
            end(client, run_id, "KILLED", error)
            raise
        except Exception as error:
            end(client, run_id, "FAILED", error)
            raise
        done = Done(name, run_id, key, str(path), made, flat, seconds, False, why, version)
        _give_aliases(client, context, served, done)
        kill_point("step:kept", name)
        shutil.rmtree(work, ignore_errors=True)
        return done


def _tags(context: Context, name: str, parts: Mapping[str, Any]) -> dict[str, str]:
    """Those that the run of a step is begun with."""
    tags = context.tags | ({"mlflow.parentRunId": context.parent} if context.parent else {})
    tags |= {OF_MODEL: parts["inputs"]["model"]} if "model" in parts["inputs"] else {}
    return tags | {
        "step": name,
        "run_key": parts["key"],
        "key_parts": json.dumps({part: digest(value) for part, value in parts.items() if part != "key"}),
    }


def _give_aliases(client: MlflowClient, context: Context, served: Served | None, done: Done) -> None:
    """Those of the model from its start, and those of a damaged version that it is made again for."""
    if served is None:
        return
    registered = f"{context.profile}-{served.name}"
    same = client.search_model_versions(f"name = '{registered}' and tags.run_key = '{done.key}'")
    # Searching leaves aliases out.
    others = [client.get_model_version(registered, version.version) for version in same if version.run_id != done.run_id]
    replaced = [alias for version in others for alias in version.aliases]
    for alias in dict.fromkeys([*served.aliases, *replaced]):
        client.set_registered_model_alias(registered, alias, str(done.version))
        kill_point("alias:given", f"{served.name}:{alias}")
