"""Log a model so that `mlflow.pyfunc.load_model` serves it from a DataFrame, and register it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

import mlflow
from factloop.faults import kill_point

from .environment import ROOT
from .keys import digest, folder_digests
from .tracking import deleting

if TYPE_CHECKING:
    from .memo import Context

REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "pandas", "tqdm")


@dataclass(frozen=True)
class Served:
    """How a model is offered: its registered name, columns in and out, and an example."""

    name: str
    example: dict[str, str]
    outputs: tuple[str, ...]
    tags: dict[str, str]
    aliases: tuple[str, ...] = ()
    """Given as soon as the model is there; models with a gate get `champion` from it instead."""


def _signature(served: Served) -> ModelSignature:
    columns: list[ColSpec | TensorSpec] = [ColSpec(DataType.string, name) for name in served.example]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.string, name) for name in served.outputs]
    return ModelSignature(Schema(columns), Schema(outputs))


class _Unasked:
    """The pyfunc flavor without a question to each model as it is logged: MLflow would load it for that, and only warn."""

    @staticmethod
    def save_model(*, validate_serving_input: bool, **given: Any) -> None:
        mlflow.pyfunc.save_model(**given)


def model_folder(model_id: str) -> Path:
    """Where the files of a logged model are on this machine."""
    location = f"{mlflow.get_logged_model(model_id).artifact_location}/artifacts/model"
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=location))


def log_model(
    client: MlflowClient, run: Run, step: str, folder: Path, made: str, served: Served, context: Context
) -> tuple[str, str]:  # fmt: skip
    """(logged model id, registered version) of the run's model; an earlier attempt's are found again.

    An attempt's version that is not as `made` is replaced: none has used it, since its run is not finished. What a
    request made that was sent twice, for its response was lost, is deleted but for one.
    """
    registered, key, run_id = f"{context.profile}-{served.name}", run.data.tags["run_key"], run.info.run_id
    for version in _versions(client, registered, run_id):
        model_id = str(version.source).removeprefix("models:/")
        if digest(folder_digests(model_folder(model_id))) == made:
            return model_id, _only(client, registered, run_id, version)
        with deleting():
            client.delete_model_version(registered, version.version)
    with mlflow.start_run(run_id=run_id, nested=True):
        info = Model.log(
            None,
            _Unasked,
            name=step,
            python_model=str(ROOT / "tasks" / "predict.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(ROOT / "factloop")],
            model_config={"kind": served.name},
            signature=_signature(served),
            input_example=pd.DataFrame([served.example]),
            pip_requirements=[f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in REQUIREMENTS],
            validate_serving_input=False,
        )
    kill_point("model:logged", step)
    for unfinished in client.search_logged_models([context.experiment], filter_string=f"source_run_id = '{run_id}'"):
        if unfinished.model_id != info.model_id:
            client.delete_logged_model(unfinished.model_id)
    tags: dict[str, Any] = context.tags | served.tags | {"run_key": key}
    try:
        client.create_registered_model(registered)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    kill_point("model:named", step)
    client.create_model_version(registered, info.model_uri, run_id, tags=tags, model_id=info.model_id)  # a server asks for the id
    kill_point("model:registered", step)
    return str(info.model_id), _only(client, registered, run_id, _versions(client, registered, run_id)[0])


def _versions(client: MlflowClient, registered: str, run_id: str) -> list[ModelVersion]:
    """Those of a run, the first first."""
    found = client.search_model_versions(f"name = '{registered}' and run_id = '{run_id}'")
    return sorted(found, key=lambda version: int(version.version))


def _only(client: MlflowClient, registered: str, run_id: str, kept: ModelVersion) -> str:
    """The number of the version of a run that is kept; its others are deleted."""
    for twin in _versions(client, registered, run_id):
        if twin.version != kept.version:
            with deleting():
                client.delete_model_version(registered, twin.version)
    return str(kept.version)


def aliased(client: MlflowClient, registered: str, alias: str) -> Any | None:
    """The version that carries an alias; None where there is none."""
    try:
        return client.get_model_version_by_alias(registered, alias)
    except mlflow.MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
