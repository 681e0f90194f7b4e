"""The parent run of one `retrain`: what a rerun needs, and the summary a person looks at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
from prefect import task
from prefect.runtime import flow_run

import mlflow
from factloop.faults import kill_point

from .costs import costs, log_costs
from .data import Data
from .environment import ROOT, STATE
from .keys import code_digest, digest, flatten, library_versions
from .machine import machine
from .memo import Context, Done, lease
from .profiles import Profile
from .record import log_data
from .tracking import begin, deleting, end, wait

ORIGIN = "origin"  # tag set once a parent run carries all that a rerun starts from
STEPS = "steps.json"  # artifact: the steps of a parent run, in order
# What of a working tree shapes a run; its other new files, which may be anything, are not kept.
PROJECT = ("factloop", "tasks", "flows", "configs", "data", "mlflow", "dvc.yaml", "constraints.txt")


def git(*arguments: str) -> str:
    """What git says; empty outside a repository."""
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def dirty_diff() -> bytes:
    """What the working tree has beside its commit, new files of the project included, as `git apply` takes it.

    Without dvc.lock, which every run rewrites and which is kept whole. The index is left alone: a copy of it takes the new files.
    """
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / "index"
        own = ROOT / git("rev-parse", "--git-path", "index")
        if not git("rev-parse", "HEAD") or not own.is_file():
            return b""
        shutil.copyfile(own, index)

        def said(*arguments: str) -> bytes:
            there = {"GIT_INDEX_FILE": str(index)}
            return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, env=os.environ | there).stdout

        said("add", "--intent-to-add", "--", *(name for name in PROJECT if (ROOT / name).exists()))
        return said(
            "diff", "--binary", "--no-ext-diff", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", "HEAD", "--", ".", ":!dvc.lock"
        )


def make_store() -> None:
    """Make this clone's MLflow database whole or not at all: its migrations do not go on where a kill struck."""
    database = Path(mlflow.get_tracking_uri().removeprefix("sqlite:///"))
    if database != STATE / "mlflow.db" or database.exists():
        return
    with lease("mlflow.db", wait=120):
        if not database.exists():
            scratch = database.with_suffix(".unfinished")
            scratch.unlink(missing_ok=True)
            MlflowClient(f"sqlite:///{scratch}").search_experiments()
            kill_point("store:made")
            scratch.replace(database)


def experiment_id(profile: str) -> str:
    """The experiment `factloop-<profile>`, made at need; local artifacts lie in the state folder."""
    make_store()
    wait(f"experiment {profile}")
    client, name = MlflowClient(), f"factloop-{profile}"
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    local = mlflow.get_tracking_uri().startswith("sqlite")
    location = (STATE / "artifacts" / profile).as_uri() if local else None
    try:
        made = str(client.create_experiment(name, artifact_location=location))
        kill_point("experiment:created")
        return made
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return experiment_id(profile)  # another process has just made it


@task(task_run_name="parent-run")
def open_parent(profile: Profile, data: Data, verb: str, asked: Mapping[str, Any]) -> Context:
    """The parent run for this config, data and code, and what else is asked: an earlier one of the same key, or new."""
    experiment, client = experiment_id(profile.name), MlflowClient()
    parts = {
        "verb": verb, "config": profile.model_dump(mode="json"), "data": data.version,
        "code": code_digest(f"flows.{verb}"), "libraries": library_versions(), **asked,
    }  # fmt: skip
    key = digest(parts)
    tags = {"profile": profile.name, "data_version": data.version, "git_commit": git("rev-parse", "HEAD")}
    person = os.environ.get("MLFLOW_TRACKING_USERNAME") or os.environ.get("USER", "unknown")
    described = {"run_key": key, "step": verb, "hardware": json.dumps(machine()), "mlflow.user": person}
    found = client.search_runs([experiment], f"tags.run_key = '{key}'", order_by=["attributes.start_time ASC"], max_results=1)
    run = begin(client, found[0] if found else None, experiment, verb, tags | described)
    run_id = run.info.run_id
    kill_point("parent:created")
    if flow_run.id:
        client.set_tag(run_id, "flow_run", flow_run.id)  # the latest: from here to Prefect's page of it
    if "error" in run.data.tags:
        with deleting():
            client.delete_tag(run_id, "error")
    if ORIGIN not in run.data.tags:
        _log_origin(client, run_id, profile)
        kill_point("parent:described")
        log_data(client, run_id, data.files)
        client.log_batch(run_id, metrics=[Metric(f"data/{name}", count, 0, 0) for name, count in data.counts.items()])
        client.set_tag(run_id, ORIGIN, "logged")
        kill_point("parent:opened")
    if found:
        client.update_run(run_id, status="RUNNING")  # until its steps end
    return Context(experiment, run_id, profile.name, profile.device, profile.threads, tags, profile.isolation)


def _log_origin(client: MlflowClient, run_id: str, profile: Profile) -> None:
    """Config, dvc.lock, constraints and the diff of a dirty tree: what `rerun` starts from.

    The config is logged as parameters too, so that the compare view shows what two runs differ in.
    """
    config = profile.model_dump(mode="json")
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in flatten(config).items()])
    client.log_dict(run_id, config, "origin/config.yaml")
    for name in ("dvc.lock", "constraints.txt"):
        if (ROOT / name).exists():
            client.log_artifact(run_id, str(ROOT / name), "origin")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "dirty.diff"
        path.write_bytes(dirty_diff())
        client.log_artifact(run_id, str(path), "origin")


def log_steps(context: Context, steps: Sequence[Done]) -> None:
    """The steps of a parent run in the order of the chain, reused ones too: those are no children of it."""
    MlflowClient().log_dict(context.parent, {"steps": [asdict(step) for step in steps]}, STEPS)


@contextmanager
def parent_run(profile: Profile, data: Data, verb: str, **asked: Any) -> Iterator[Context]:
    """The parent run around a flow's steps: finished if they all end, else failed with the error.

    `asked` is what a verb is told beside its profile, as JSON values.
    """
    context = open_parent(profile, data, verb, asked)
    try:
        yield context
    except BaseException as error:
        end(MlflowClient(), context.parent, "FAILED" if isinstance(error, Exception) else "KILLED", error)
        raise
    log_costs(context.parent, costs(context.experiment, context.parent, profile.prices))
    kill_point("parent:ending")
    MlflowClient().set_terminated(context.parent, "FINISHED")
