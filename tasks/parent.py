"""The parent run of one `retrain`: what a rerun needs, and the summary a person looks at."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.tracking import MlflowClient
from prefect import task

import mlflow

from .data import Data
from .environment import ROOT, STATE
from .keys import code_digest, digest, library_versions
from .memo import Context, as_dataset
from .profiles import Profile


def git(*arguments: str) -> str:
    """What git says; empty outside a repository."""
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def experiment_id(profile: str) -> str:
    """The experiment `factloop-<profile>`, made at need; local artifacts lie in the state folder."""
    client, name = MlflowClient(), f"factloop-{profile}"
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    local = mlflow.get_tracking_uri().startswith("sqlite")
    location = (STATE / "artifacts" / profile).as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return experiment_id(profile)  # another process has just made it


@task(task_run_name="parent-run")
def open_parent(profile: Profile, data: Data, verb: str) -> Context:
    """The parent run for this config, data and code: an earlier one of the same key, or new."""
    client, experiment = MlflowClient(), experiment_id(profile.name)
    parts = {
        "verb": verb, "config": profile.model_dump(mode="json"), "data": data.version,
        "code": code_digest(f"flows.{verb}"), "libraries": library_versions(),
    }  # fmt: skip
    key = digest(parts)
    tags = {"profile": profile.name, "data_version": data.version, "git_commit": git("rev-parse", "HEAD")}
    found = client.search_runs([experiment], f"tags.run_key = '{key}'", order_by=["attributes.start_time ASC"], max_results=1)
    if found:
        run = found[0]
        if "error" in run.data.tags:
            client.delete_tag(run.info.run_id, "error")
    else:
        run = client.create_run(experiment, run_name=verb, tags=tags | {"run_key": key, "step": verb})
        _log_origin(client, run.info.run_id, profile)
        with mlflow.start_run(run_id=run.info.run_id):
            for name, value in data.files.items():
                mlflow.log_input(as_dataset(*value), context=name)
        client.update_run(run.info.run_id, status="RUNNING")  # until its steps end
    return Context(experiment, run.info.run_id, profile.name, profile.device, profile.threads, tags)


def _log_origin(client: MlflowClient, run_id: str, profile: Profile) -> None:
    """Config, dvc.lock, constraints and the diff of a dirty tree: what `rerun` starts from."""
    client.log_dict(run_id, profile.model_dump(mode="json"), "origin/config.yaml")
    for name in ("dvc.lock", "constraints.txt"):
        if (ROOT / name).exists():
            client.log_artifact(run_id, str(ROOT / name), "origin")
    client.log_text(run_id, git("diff", "HEAD"), "origin/dirty.diff")


@contextmanager
def parent_run(profile: Profile, data: Data, verb: str) -> Iterator[Context]:
    """The parent run around a flow's steps: finished if they all end, else failed with the error."""
    context = open_parent(profile, data, verb)
    try:
        yield context
    except BaseException as error:
        client = MlflowClient()
        client.set_tag(context.parent, "error", f"{type(error).__name__}: {error}"[:5000])
        client.set_terminated(context.parent, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    MlflowClient().set_terminated(context.parent, "FINISHED")
