"""What a step leaves in MLflow: parameters, metrics, files and a model. Its training curve: `progress.py`.

Every call here may be repeated after a kill, wherever that struck, and leaves the same.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

import mlflow
from factloop.faults import kill_point

from .environment import ROOT
from .keys import digest, flatten, folder_digests
from .serving import Served, log_model, model_folder
from .tracking import deleting

if TYPE_CHECKING:
    from .memo import Context

FILES = "files"  # artifact folder of what a step wrote beside its model


class Damaged(RuntimeError):
    """Stored files are not what they were, and no step of this run makes them again."""


def describe(client: MlflowClient, run_id: str, name: str, parts: Mapping[str, Any]) -> None:
    """The parts of a step's key, as parameters and as a file."""
    flat = flatten(parts["config"])
    client.log_batch(run_id, params=[Param(label, str(value)[:6000]) for label, value in flat.items()])
    kill_point("run:parameters", name)
    client.log_dict(run_id, dict(parts), "key.json")


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as MLflow takes them: an estimate becomes three, `.low` and `.high` beside it."""
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= {name: value["value"], f"{name}.low": value["low"], f"{name}.high": value["high"]}
        else:
            flat[name] = float(value)
    return flat


def log_data(client: MlflowClient, run_id: str, files: Mapping[str, tuple[str, str]]) -> None:
    """Data files, path and digest, as inputs of a run: name, digest and where each lies in the clone."""
    client.log_inputs(run_id, [DatasetInput(_dataset(*file), [InputTag(MLFLOW_DATASET_CONTEXT, label)]) for label, file in files.items()])


def _dataset(path: str, found: str) -> Dataset:
    file = Path(path)
    inside = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a local path "can be interpreted in multiple ways", twice the same
        # Its base class declares `profile` abstract, yet MetaDataset is made to be instantiated.
        meta = MetaDataset(resolve_dataset_source(path), name=inside, digest=found[:36])  # type: ignore[abstract]
    return Dataset(**meta.to_dict())


def artifact_folder(run: Run, model_id: str | None) -> Path:
    """Where the files of a run are on this machine; fetched if its store is another machine's."""
    if model_id:
        return model_folder(model_id)
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{run.info.artifact_uri}/{FILES}"))


def record(
    client: MlflowClient, context: Context, name: str, run: Run, metrics: Mapping[str, float], out: Path,
    served: Served | None, data: Mapping[str, tuple[str, str]], tags: Mapping[str, str],
) -> tuple[Path, str, str | None]:  # fmt: skip
    """Log the outcome of a step and finish its run; returns (folder, digest, registered version).

    The digest is set after all else but the status: a run without it is not a finished one.
    """
    run_id = run.info.run_id
    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(label, value, now, 0) for label, value in metrics.items()])
    kill_point("record:measured", name)
    if data:
        log_data(client, run_id, data)
    made = digest(folder_digests(out / "model" if served else out))
    model_id = version = None
    if served:
        model_id, version = log_model(client, run, name, out / "model", made, served, context)
    else:
        client.log_artifacts(run_id, str(out), FILES)
    kill_point("record:logged", name)
    path = artifact_folder(run, model_id)
    if digest(folder_digests(path)) != made:
        raise Damaged(f"{name}: what lies under {path} is not what was written there; delete that folder and run again")
    if "error" in run.data.tags:  # of an earlier attempt
        with deleting():
            client.delete_tag(run_id, "error")
    told = {**tags, "digest": made} | ({"model_id": model_id, "model_version": version} if model_id and version else {})
    client.log_batch(run_id, tags=[RunTag(label, value) for label, value in told.items()])
    kill_point("record:sealed", name)
    client.set_terminated(run_id, "FINISHED")
    kill_point("record:finished", name)
    return path, made, version
