"""Evaluations found by what a person calls them, and whether two of them may be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import mlflow
from factloop.corpora.rows import Row, read_rows

from .keys import digest
from .memo import OF_MODEL, recall_run
from .serving import aliased

HEADLINES = (r"evaluate-summarizer-contrastive(-round-\d+)?", "evaluate-table-qa")  # of a retrain: what its gate decides on
JUDGES = ("quals", "qags", "factcc")  # settings in an evaluation's config
VERSION = re.compile(r"(?:models:/)?(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


class Refused(ValueError):
    """What cannot be compared, and why."""


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation, of one system on one test set."""

    name: str
    """What the person called it."""
    run: Run
    key: dict[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        return "summaries" if "document" in self.rows[0] else "tables"

    @property
    def judges(self) -> str:
        """The gate judges that measured, and how they were told to; nothing where no judge did."""
        if self.kind == "tables":
            return ""
        keys = self.run.data.tags.get("judge_keys", "").split()
        gate = sorted(key for key in keys if "-training:" not in key)
        settings = {name: self.key["config"][name] for name in JUDGES if name in self.key["config"]}
        return f"{' '.join(gate)} with settings {digest(settings)[:12]}"

    @cached_property
    def rows(self) -> list[Row]:
        """Its examples, if its files are what they were; raises Damaged."""
        return list(read_rows(Path(recall_run(self.run).path) / "examples.jsonl"))

    @cached_property
    def test_set(self) -> str:
        """A digest of what was asked: ids, inputs and references."""
        asked = ("id", "document", "question", "table", "title", "header", "rows", "reference")
        return digest([[row.get(name) for name in asked] for row in self.rows])


def find(name: str) -> dict[str, list[Evaluation]]:
    """By kind the evaluations that a run id or a model version stands for, newest first; Refused says why there are none."""
    client = MlflowClient()
    if parts := VERSION.fullmatch(name):
        found = list(_of_version(client, name, *parts.groups()))
    else:
        try:
            run = client.get_run(name)
        except MlflowException:
            raise Refused(
                f"{name}: neither a run of this store nor a model version, as world-summarizer@champion or world-summarizer/3"
            ) from None
        found = _of_run(client, name, run)
    return {kind: [one for one in found if one.kind == kind] for kind in dict.fromkeys(one.kind for one in found)}


def _evaluation(name: str, run: Run) -> Evaluation | None:
    """The evaluation of a run; None if it is another step's. Refused if it is not whole."""
    tags = run.data.tags
    if not tags.get("step", "").startswith("evaluate"):
        return None
    if "corrupt" in tags:
        raise Refused(f"{name}: evaluation run {run.info.run_id} is corrupt ({tags['corrupt']})")
    if run.info.status != "FINISHED" or "digest" not in tags:
        raise Refused(f"{name}: evaluation run {run.info.run_id} is not finished (it is {run.info.status})")
    path = mlflow.artifacts.download_artifacts(artifact_uri=f"{run.info.artifact_uri}/key.json")
    key = json.loads(Path(path).read_text(encoding="utf-8"))
    return Evaluation(name, run, key)


def _of_run(client: MlflowClient, name: str, run: Run) -> list[Evaluation]:
    """Of an evaluation itself, or of the parent run of a retrain."""
    if one := _evaluation(name, run):
        return [one]
    step = run.data.tags.get("step", "unknown")
    if step != "retrain":
        raise Refused(f"{name}: a run of {step!r}, neither of `retrain` nor an evaluation")
    if run.info.status != "FINISHED":
        raise Refused(f"{name}: this retrain is not finished (it is {run.info.status})")
    try:
        path = mlflow.artifacts.download_artifacts(artifact_uri=f"{run.info.artifact_uri}/steps.json")
    except (OSError, MlflowException):
        raise Refused(f"{name}: this retrain has no record of its steps (steps.json); name its evaluations") from None
    steps = json.loads(Path(path).read_text(encoding="utf-8"))["steps"]
    named = [[step["run_id"] for step in steps if re.fullmatch(headline, step["name"])] for headline in HEADLINES]
    found = [_evaluation(name, client.get_run(run_ids[0])) for run_ids in named if run_ids]  # the champion's comes later
    return [one for one in found if one]


def _of_version(client: MlflowClient, name: str, registered: str, alias: str | None, number: str | None) -> Iterator[Evaluation]:
    """All whole evaluations of a model version by a retrain."""
    try:
        version = aliased(client, registered, alias) if alias else client.get_model_version(registered, str(number))
    except MlflowException:
        version = None
    if version is None:
        raise Refused(f"{name}: there is no such model version")
    made = client.get_run(str(version.run_id))
    step = made.data.tags.get("step")
    asked = f"tags.step = 'evaluate-{step}' and tags.{OF_MODEL} = '{made.data.tags.get('digest')}' and attributes.status = 'FINISHED'"
    runs = client.search_runs([made.info.experiment_id], asked, order_by=["attributes.start_time DESC"])
    found = [one for run in runs if "corrupt" not in run.data.tags and (one := _evaluation(name, run))]
    if not found:
        raise Refused(f"{name}: no finished evaluation of version {version.version}; a retrain evaluates its own models and the champion")
    yield from found


def objection(one: Evaluation, other: Evaluation) -> str | None:
    """Why two evaluations of a kind may not be compared; None where they may."""
    if one.run.info.run_id == other.run.info.run_id:
        return f"both are evaluation run {one.run.info.run_id}"
    if one.judges != other.judges:
        return f"different gate judges: {one.judges} and {other.judges}; scores by different judges do not compare"
    if one.test_set != other.test_set:
        ids = [{row["id"] for row in side.rows} for side in (one, other)]
        versions = " and ".join(side.run.data.tags.get("data_version", "unknown")[:12] for side in (one, other))
        return (
            f"different test data: {len(ids[0])} and {len(ids[1])} examples, {len(ids[0] & ids[1])} ids in common,"
            f" digests {one.test_set[:12]} and {other.test_set[:12]} (data versions {versions})"
        )
    return None


def notes(one: Evaluation, other: Evaluation) -> list[str]:
    """What else two evaluations differ in, which does not keep them from being compared."""
    told = []
    if one.run.data.tags.get("data_version") != other.run.data.tags.get("data_version"):
        told.append("the data versions differ, and what was tested on is the same")
    if one.key["code"] != other.key["code"]:
        told.append("the code that measured differs")
    changed = [name for name, version in one.key["libraries"].items() if other.key["libraries"].get(name) != version]
    return [*told, f"measured with different versions of {', '.join(changed)}"] if changed else told
