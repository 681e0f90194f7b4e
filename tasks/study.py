"""A study by people: blind pairs written to a folder, and what the raters answered recorded with both models.

The folder has `for-raters/` with a page and a CSV form for each rater, and beside it `key.json`, which says
which side is whose and is not for raters.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from markupsafe import Markup
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import mlflow
from factloop.corpora.rows import Row, Rule, contents, parsed, read_rows
from factloop.faults import kill_point
from factloop.study import AXES, Pair, Sheet, blind_pairs, sheets

from .environment import ROOT
from .keys import digest, folder_digests
from .own import harmless
from .parent import make_store
from .record import Damaged, artifact_folder
from .report import page, save_page
from .serving import aliased

KEY, FOR_RATERS = "key.json", "for-raters"
HELP = {
    "consistency": "Which one states less that the document does not bear out? Go by the document, not by what you know.",
    "informativeness": "Which one tells more of what matters in the document?",
    "grammar": "Which one is written more correctly and reads better?",
}


class NoStudy(ValueError):
    """A study that cannot be made or read as asked."""


@dataclass(frozen=True)
class Rated:
    """One of the two that are compared: an evaluation, by the name of what wrote the summaries."""

    name: str
    run: str


@dataclass(frozen=True)
class Study:
    id: str
    """Digest of all else: answers carry it, so that they cannot be held against another key."""
    rated: tuple[Rated, Rated]
    seed: int
    examples: int
    """In the test set."""
    identical: int
    """Of them, those of which both wrote the same: these are left out."""
    pairs: list[Pair]
    sheets: list[Sheet]


def find_rated(name: str) -> Rated:
    """An evaluation by its run id, or that of a registered version: `world-summarizer@champion`, `world-summarizer/3`."""
    make_store()
    client = MlflowClient()
    parts = re.fullmatch(r"(?:models:/)?([^/@]+)(?:@([^/@]+)|/(\d+))", name)
    try:
        if not parts:
            run = client.get_run(name)
            writer = run.data.tags.get("model") or run.data.tags.get("step", "").removeprefix("evaluate-")
            return Rated(f"{writer} (run {run.info.run_id[:8]})", run.info.run_id)
        registered, alias, number = parts.groups()
        version = aliased(client, registered, alias) if alias else client.get_model_version(registered, number)
    except MlflowException as error:
        raise NoStudy(
            f"{name!r}: {error.message}; an evaluation's run id, or name@alias or name/version of a summariser, is asked"
        ) from None
    if version is None:
        raise NoStudy(f"{name!r}: there is no such registered model or alias")
    return Rated(f"{registered}/{version.version}", _evaluation(client, f"{registered}/{version.version}", str(version.run_id)))


def _evaluation(client: MlflowClient, name: str, run_id: str) -> str:
    """The run id of the newest evaluation of a model."""
    made = client.get_run(run_id)
    wanted = f"tags.step = 'evaluate-{made.data.tags['step']}' and attributes.status = 'FINISHED'"
    for run in client.search_runs([made.info.experiment_id], wanted, order_by=["attributes.start_time DESC"]):
        if "digest" in run.data.tags and "corrupt" not in run.data.tags:
            inputs = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/key.json")["inputs"]
            if inputs.get("model") == made.data.tags["digest"]:
                return str(run.info.run_id)
    raise NoStudy(f"{name} has not been evaluated: python -m flows.retrain evaluates a profile's summarisers")


def summaries_of(rated: Rated) -> list[Row]:
    """What was written of each test document, verified; NoStudy where the run is not an evaluation of summaries."""
    run = MlflowClient().get_run(rated.run)
    if "digest" not in run.data.tags or run.info.status != "FINISHED":
        raise NoStudy(f"{rated.name}: run {rated.run} is not a finished evaluation")
    folder = artifact_folder(run, run.data.tags.get("model_id"))
    if digest(folder_digests(folder)) != run.data.tags["digest"]:
        raise Damaged(f"{rated.name}: the files of run {rated.run} are not what was recorded; restore them, or evaluate again")
    path = folder / "examples.jsonl"
    rows = list(read_rows(path)) if path.exists() else []
    if not rows or not {"id", "document", "output"} <= rows[0].keys():
        raise NoStudy(f"{rated.name}: run {rated.run} ({run.data.tags.get('step')}) is not an evaluation of summaries")
    return rows


def make_study(first: str, second: str, examples: int, seed: int, raters: int) -> Study:
    """Draw the pairs and shuffle them for each rater; NoStudy says what is in the way."""
    rated = find_rated(first), find_rated(second)
    if rated[0].run == rated[1].run:
        raise NoStudy(f"{first} and {second} are one evaluation, run {rated[0].run}")
    rows = [summaries_of(side) for side in rated]
    try:
        pairs, identical = blind_pairs(rows[0], rows[1], examples, seed)
    except ValueError as error:
        raise NoStudy(f"{rated[0].name} and {rated[1].name}: {error}") from None
    study = Study("", rated, seed, len(rows[0]), identical, pairs, sheets(pairs, raters, seed))
    return Study(**{**vars(study), "id": _id(study)})


def _id(study: Study) -> str:
    return digest(asdict(study) | {"id": ""})[:12]


def write_study(study: Study, folder: Path) -> None:
    """Pages, forms and the key, whole or not at all. What is there already may hold answers, and stays."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NoStudy(f"{folder} is there already and not an empty folder; name another")
    scratch = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / FOR_RATERS).mkdir(parents=True)
    for sheet in study.sheets:
        shown = _shown(study, sheet)
        save_page(scratch / FOR_RATERS / f"rater-{sheet.rater}.html", rater_page(study, sheet, shown), "study")
        _write_form(scratch / FOR_RATERS / f"rater-{sheet.rater}.csv", study, sheet, shown)
    save_page(scratch / KEY, json.dumps(asdict(study), ensure_ascii=False, indent=1), "study key")
    kill_point("study:written")
    scratch.replace(folder)


def _shown(study: Study, sheet: Sheet) -> list[Row]:
    """What a rater sees, in order: pair, document, first and second."""
    pairs = {pair.id: pair for pair in study.pairs}
    return [
        {"pair": id, "document": pairs[id].document, "first": pairs[id].summaries[place], "second": pairs[id].summaries[1 - place]}
        for id, place in sheet.order
    ]


def rater_page(study: Study, sheet: Sheet, shown: Sequence[Row]) -> str:
    """One HTML file that needs nothing else. Its policy allows its one script and its one style by their hashes, and nothing more."""
    parts = {name: (ROOT / "tasks" / f"study.{name}").read_text(encoding="utf-8") for name in ("js", "css")}
    hashes = {name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for name, text in parts.items()}
    return page(
        "study.html.jinja", study=study, sheet=sheet, shown=shown, axes=AXES, help=HELP, hashes=hashes,
        script=Markup(parts["js"]), style=Markup(parts["css"]),
    )  # fmt: skip


def _write_form(path: Path, study: Study, sheet: Sheet, shown: Sequence[Row]) -> None:
    """The same as CSV, to be filled in under the names of the axes."""
    with path.open("w", encoding="utf-8-sig", newline="") as stream:  # spreadsheets take UTF-8 for it only with its mark
        table = csv.writer(stream)
        table.writerow(["study", "rater", "pair", "document", "first", "second", *AXES])
        for row in shown:
            texts = [harmless(row[name]) for name in ("document", "first", "second")]
            table.writerow([study.id, sheet.rater, row["pair"], *texts, *("" for _ in AXES)])


def read_study(folder: Path) -> Study:
    """The key of an exported study, as it was written; NoStudy where it is not."""
    path = folder / KEY
    try:
        found = parsed(contents(path))
        study = Study(
            **found
            | {"rated": tuple(Rated(**side) for side in found["rated"])}
            | {"pairs": [Pair(**pair | {"summaries": tuple(pair["summaries"])}) for pair in found["pairs"]]}
            | {"sheets": [Sheet(sheet["rater"], tuple((id, place) for id, place in sheet["order"])) for sheet in found["sheets"]]}
        )
        whole = _id(study) == study.id
    except (Rule, KeyError, TypeError, ValueError) as error:
        raise NoStudy(f"{path}: not the key of a study ({error})") from None
    if not whole:
        raise NoStudy(f"{path} is not as it was exported; answers cannot be held against it")
    return study
