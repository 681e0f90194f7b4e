"""What a parent run recorded of itself: where a rerun starts from, and what it is held to."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import mlflow

from .environment import ROOT
from .parent import ORIGIN, STEPS, git
from .verdicts import Step

VERBS = ("retrain", "train_judges")
RUN_ID = re.compile(r"[0-9a-f]{32}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
PROFILE = re.compile(r"\w[\w-]*")
PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==([\w.!+-]+)")


class Refused(ValueError):
    """A run that cannot be rerun or explained, and why."""


@dataclass(frozen=True)
class Origin:
    """A parent run with what it was made from."""

    run: Run
    verb: str
    profile: str
    commit: str
    config: dict[str, Any]
    """Every field of the profile, as the run had it."""
    lock: str
    """The text of its dvc.lock."""
    constraints: dict[str, str]
    """Version by package."""
    diff: bytes
    """What its working tree had beside the commit."""

    @property
    def run_id(self) -> str:
        return str(self.run.info.run_id)


def store() -> str:
    """The address of the tracking server, without a password that may stand in it."""
    parts = urlsplit(mlflow.get_tracking_uri())
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def parent_of(client: MlflowClient, run_id: str) -> Run:
    """The parent run of this id; Refused says what else it is."""
    if not RUN_ID.fullmatch(run_id):
        raise Refused(f"{run_id!r}: a run id is 32 letters and digits, as MLflow shows it")
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise Refused(f"{store()} cannot be asked for run {run_id} ({error.error_code})") from None
        raise Refused(f"there is no run {run_id} in {store()}; MLFLOW_TRACKING_URI names the server of another machine's runs") from None
    above, verb = run.data.tags.get("mlflow.parentRunId"), run.data.tags.get("step", "unknown")
    if verb not in VERBS:
        instead = f", a step of parent run {above}: name that" if above else f"; what is rerun is {' and '.join(VERBS)}"
        raise Refused(f"run {run_id} is of {verb!r}{instead}")
    return run


def read_origin(client: MlflowClient, run: Run) -> Origin:
    """What a rerun needs; Refused names what the run lacks, or what in it is not as it must be."""
    run_id, tags = run.info.run_id, run.data.tags
    if ORIGIN not in tags:
        raise Refused(f"run {run_id} has no record of what it started from: it was ended before that was written, or is not this project's")
    commit = tags.get("git_commit", "")
    if not COMMIT.fullmatch(commit):
        raise Refused(f"run {run_id} was started outside a git repository: its code is not recorded")
    config = read_config(client, run)
    files = {name: fetched(client, run, f"origin/{name}") for name in ("dvc.lock", "constraints.txt", "dirty.diff")}
    if missing := [name for name, content in files.items() if content is None]:
        raise Refused(f"run {run_id} lacks {', '.join(missing)} of its origin: it cannot be rerun")
    lock, constraints = ((files[name] or b"").decode(errors="replace") for name in ("dvc.lock", "constraints.txt"))
    return Origin(
        run, tags["step"], config["name"], commit, config, checked_lock(lock, run_id), pins(constraints, run_id), files["dirty.diff"] or b""
    )


def read_config(client: MlflowClient, run: Run) -> dict[str, Any]:
    """The profile of a run with every field."""
    run_id, profile = run.info.run_id, run.data.tags.get("profile", "")
    try:
        config = yaml.safe_load(fetched(client, run, "origin/config.yaml") or b"")
    except (yaml.YAMLError, UnicodeDecodeError):
        config = None
    if not isinstance(config, dict) or config.get("name") != profile or not PROFILE.fullmatch(profile):
        raise Refused(f"run {run_id} has no config, or not one of profile {profile!r}")
    return config


def fetched(client: MlflowClient, run: Run, name: str) -> bytes | None:
    """The content of one of a run's artifacts; None where it has none of this name."""
    folder = name.rpartition("/")[0]
    if name not in {item.path for item in client.list_artifacts(run.info.run_id, folder or None)}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return Path(client.download_artifacts(run.info.run_id, name, scratch)).read_bytes()


def checked_lock(text: str, run_id: str) -> str:
    """A recorded dvc.lock, if all outs that it names lie under data/: what is not as recorded there is deleted and made again."""
    try:
        outs = [out["path"] for stage in yaml.safe_load(text)["stages"].values() for out in stage.get("outs", [])]
        inside = all(PurePosixPath(path).parts[0] == "data" and ".." not in PurePosixPath(path).parts for path in outs)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, IndexError):
        inside = False
    if not inside:
        raise Refused(f"run {run_id}: its dvc.lock is damaged, or names files outside data/")
    return text


def pins(text: str, run_id: str) -> dict[str, str]:
    """Version by package of a constraints file. Anything but `name==version` is refused: pip would take options and addresses too."""
    found: dict[str, str] = {}
    for line in (line.partition("#")[0].strip() for line in text.splitlines()):
        if line and not (pin := PIN.fullmatch(line)):
            raise Refused(f"run {run_id}: its constraints.txt has {line!r}, which is not name==version")
        if line and pin:
            found[pin[1]] = pin[2]
    return found


def have_commit(commit: str) -> None:
    if not git("cat-file", "-t", commit) == "commit":
        raise Refused(f"commit {commit} is not in this clone ({ROOT}): `git fetch` it, from where the run was made if it was never pushed")


def finished_steps(client: MlflowClient, run: Run) -> list[dict[str, Any]]:
    """The records of a finished parent run's steps, in order; Refused where there are none."""
    if run.info.status != "FINISHED":
        raise Refused(f"run {run.info.run_id} is not finished (it is {run.info.status}): there is nothing to hold a rerun to")
    text = fetched(client, run, STEPS)
    if text is None:
        raise Refused(f"run {run.info.run_id} has no record of its steps ({STEPS})")
    try:
        return [step | {name: step[name] for name in ("name", "run_id", "version")} for step in json.loads(text)["steps"]]
    except (ValueError, KeyError, TypeError):
        raise Refused(f"run {run.info.run_id}: its record of steps ({STEPS}) is damaged") from None


def read_steps(client: MlflowClient, run: Run) -> list[Step]:
    """The data, the steps and the parent run itself, as what is compared."""
    own, version = run.data.metrics, run.data.tags.get("data_version", "")
    data = {name: value for name, value in own.items() if name.startswith("data/")}
    rest = {name: value for name, value in own.items() if name not in data}
    return [
        Step("data", data, made=version, parts={"inputs": {"data version": version}}),
        *(_step(client, record) for record in finished_steps(client, run)),
        Step(run.data.tags["step"], rest),
    ]


def _step(client: MlflowClient, record: Mapping[str, Any]) -> Step:
    name, run_id = str(record["name"]), str(record["run_id"])
    try:
        found = client.get_run(run_id)
    except MlflowException:
        raise Refused(f"run {run_id} of step {name} is gone from {store()}") from None
    tags = found.data.tags
    text = fetched(client, found, "key.json")
    hardware = json.loads(tags.get("hardware", "{}"))
    return Step(name, found.data.metrics, tags.get("run_key", ""), tags.get("digest", ""), json.loads(text or b"{}"), hardware)
