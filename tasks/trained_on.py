"""What a model version was trained on: found through its run in MLflow, as it was then, whatever the clone's data are now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import mlflow

from .environment import ROOT, STATE
from .keys import file_digest

CACHE = STATE / "dvc-cache" / "files" / "md5"


class Untraced(ValueError):
    """The training data of a model version are not to be had here."""


def training_file(client: MlflowClient, version: Any, part: str) -> Path:
    """A part of the split, such as `summaries.train`, that a version's parent run took; Untraced says what is missing.

    The file of the clone if it is that one by its digest, else DVC's copy of it by the parent run's `dvc.lock`.
    """
    run = client.get_run(version.run_id)
    parent = run.data.tags.get("mlflow.parentRunId")
    name, found = _input(client.get_run(parent), part) if parent else (None, "")
    if parent is None or name is None:
        raise Untraced(f"{version.name} version {version.version}: its run does not say what {part} it was trained on")
    for path in (ROOT / name, _cached(parent, name)):
        if path and path.is_file() and file_digest(path).startswith(found):
            return path
    tags = run.data.tags
    raise Untraced(
        f"{version.name} version {version.version} was trained on {name} of data version {tags.get('data_version', 'unknown')[:12]},"
        f" which is neither in this clone nor in {CACHE}; `dvc fetch` at commit {tags.get('git_commit', 'unknown')[:12]} brings it back"
    )


def _input(parent: Run, part: str) -> tuple[str | None, str]:
    """The name within the clone of a recorded input and the start of its SHA-256; a name that leaves the data is no input."""
    for given in parent.inputs.dataset_inputs if parent.inputs else []:
        contexts = [tag.value for tag in given.tags if tag.key == "mlflow.data.context"]
        inside = (ROOT / given.dataset.name).resolve().is_relative_to((ROOT / "data").resolve())
        if contexts == [part] and inside and given.dataset.digest:
            return given.dataset.name, given.dataset.digest
    return None, ""


def _cached(parent: str, name: str) -> Path | None:
    """Where DVC keeps its copy of a file, by the `dvc.lock` of a parent run; None where that is not known."""
    try:
        lock = Path(mlflow.artifacts.download_artifacts(run_id=parent, artifact_path="origin/dvc.lock"))
        stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
        outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
        folder = str(Path(name).parent)
        listed = json.loads(_object(outs[folder]).read_text(encoding="utf-8"))
        return _object({item["relpath"]: item["md5"] for item in listed}[Path(name).name])
    except (OSError, MlflowException, KeyError, TypeError, ValueError, yaml.YAMLError):
        return None


def _object(md5: str) -> Path:
    """The file of an MD5 in DVC's cache; ValueError if it is none."""
    if not md5.removesuffix(".dir").isalnum():
        raise ValueError(md5)
    return CACHE / md5[:2] / md5[2:]
