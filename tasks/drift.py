"""What comes in compared with what the champion was trained on and measured by, and kept: a run, a JSON file, a page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from prefect import task

from factloop.corpora.csv_files import csv_rows
from factloop.corpora.rows import BadRow, Row, read_rows
from factloop.drift import Drift, Part, TooFew, document_drift, holm_alarm, score_drift, table_drift
from factloop.faults import kill_point

from .environment import STATE
from .evaluations import JUDGES, Refused, find, objection
from .keys import code_digest, digest, file_digest
from .parent import experiment_id, git
from .profiles import Profile
from .report import page, save_page
from .serving import aliased
from .tracking import begin
from .trained_on import training_file

STEP = "drift"
SEED = 0


class NoChampion(ValueError):
    """There is nothing to compare with."""


@dataclass(frozen=True)
class Compared:
    """One of documents, tables and scores, as it came in and as the champion knows it."""

    kind: str
    incoming: str
    """What the person calls it: a file's name, or a run."""
    old: str
    """What of the champion it is compared with."""
    digests: tuple[str, str]
    """SHA-256 of what came in and of the champion's."""
    test: Callable[[], Drift]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    profile: str
    compared: list[Compared]
    found: dict[str, Drift]
    """By kind."""
    untested: dict[str, str]
    """By kind why it could not be told."""
    adjusted: dict[str, float]
    """P-values by part, corrected for all parts (Holm)."""
    alarm: bool

    @property
    def parts(self) -> list[Part]:
        return [part for drift in self.found.values() for part in drift.parts]

    @property
    def notes(self) -> list[str]:
        own = [f"{one.kind}: {note}" for one in self.compared for note in one.notes]
        return own + [f"{kind}: {note}" for kind, drift in self.found.items() for note in drift.notes]


def champion(profile: Profile, model: str) -> Any:
    """The version in use; NoChampion where there is none."""
    experiment_id(profile.name)  # makes the store at need
    found = aliased(MlflowClient(), f"{profile.name}-{model}", "champion")
    if found is None:
        raise NoChampion(f"{profile.name}-{model} has no champion; python -m flows.retrain --profile {profile.name} makes one")
    return found


def documents(profile: Profile, file: Path, rows: list[Row]) -> Compared:
    """Incoming documents, and those that the champion summariser was trained on."""
    version = champion(profile, "summarizer")
    path = training_file(MlflowClient(), version, "summaries.train")
    old = [row["document"] for row in read_rows(path)]
    name = f"training documents of {version.name} version {version.version}"
    digests = digest([row["document"] for row in rows]), file_digest(path)
    return Compared("documents", file.name, name, digests, lambda: document_drift([row["document"] for row in rows], old, SEED))


def tables(profile: Profile, file: Path, rows: list[Row]) -> Compared:
    """Incoming tables, with questions or without, and those that the champion table question-answerer was fine-tuned on."""
    version = champion(profile, "table-qa")
    path = training_file(MlflowClient(), version, "table_questions.train")
    name = f"training tables of {version.name} version {version.version}"
    old = list(read_rows(path))
    return Compared("tables", file.name, name, (digest(rows), file_digest(path)), lambda: table_drift(rows, old, SEED))


def scores(profile: Profile, name: str) -> Compared:
    """Judge scores of recent outputs, of a run of flows.evaluate or its table, and of the champion's evaluation by the same judges."""
    version = champion(profile, "summarizer")
    known = find(f"{version.name}/{version.version}")["summaries"]
    notes: tuple[str, ...] = ()
    if name.endswith(".csv"):
        rows, old = read_scores(Path(name)), known[0]
        notes = ("a table does not say which judges scored; with the run id of flows.evaluate that is checked",)
    else:
        recent = find(name).get("summaries", [])
        if not recent:
            raise Refused(f"{name}: scores of summaries are compared, and these are of tables; no judge reads tables")
        fit = [one for one in known if one.judges == recent[0].judges]
        if not fit:
            raise Refused(f"{name}: {objection(recent[0], known[0])}")
        rows, old = recent[0].rows, fit[0]
        if recent[0].run.info.run_id == old.run.info.run_id:
            raise Refused(f"{name}: this is the champion's own evaluation")
    judges = [judge for judge in JUDGES if any(judge in row["scores"] for row in rows) and judge in old.rows[0]["scores"]]
    if not judges:
        raise Refused(f"{name}: no score of {', '.join(JUDGES)} that the champion's evaluation {old.run.info.run_id} has, too")
    compact = [[row["scores"].get(judge) for judge in judges] for row in rows]
    told = f"evaluation {old.run.info.run_id} of {version.name} version {version.version}"
    digests = digest([judges, compact, [row.get("document") for row in rows]]), old.run.data.tags["digest"]
    return Compared("scores", Path(name).name, told, digests, lambda: score_drift(rows, old.rows, judges, SEED), notes)


def read_scores(path: Path) -> list[Row]:
    """The judges' columns of a table that flows.evaluate wrote; an empty cell is no score."""
    rows = []
    for number, fields in csv_rows(path):
        given = {judge: fields[judge] for judge in JUDGES if judge in fields}
        try:
            found = {judge: float(text) if text else None for judge, text in given.items()}
        except ValueError:
            raise BadRow(path, number, f"a score is no number: {given}") from None
        if any(value is not None and not math.isfinite(value) for value in found.values()):
            raise BadRow(path, number, f"a score is not finite: {given}")
        rows.append({"scores": found})
    return rows


@task(task_run_name="drift")
def measure(profile: Profile, compared: list[Compared]) -> Verdict:
    """Test each, and all parts together at 5%; TooFew where nothing can be told at all."""
    found, untested = {}, {}
    for one in compared:
        try:
            found[one.kind] = one.test()
        except TooFew as few:
            untested[one.kind] = str(few)
    if not found:
        raise TooFew("; ".join(f"{kind}: {why}" for kind, why in untested.items()))
    adjusted, alarm = holm_alarm([part for drift in found.values() for part in drift.parts])
    return Verdict(profile.name, compared, found, untested, adjusted, alarm)


@task(task_run_name="record")
def keep(verdict: Verdict) -> tuple[str, Path]:
    """Record a verdict, the same again in the same run; returns the run and the page."""
    client, experiment = MlflowClient(), experiment_id(verdict.profile)
    key = digest({"compared": [[one.kind, one.old, *one.digests] for one in verdict.compared], "seed": SEED, "code": code_digest(__name__)})
    earlier = client.search_runs([experiment], f"tags.run_key = '{key}'", max_results=1)
    tags = {"step": STEP, "run_key": key, "profile": verdict.profile, "git_commit": git("rev-parse", "HEAD")}
    tags |= {"data_version": digest([one.digests[0] for one in verdict.compared])}  # of what came in
    tags |= {f"{side}.{one.kind}": getattr(one, side) for one in verdict.compared for side in ("incoming", "old")}
    run_id = begin(client, earlier[0] if earlier else None, experiment, STEP, tags).info.run_id
    kill_point("drift:begun")
    client.log_batch(run_id, metrics=[Metric(name, value, 0, 0) for name, value in metrics(verdict).items()])
    kill_point("drift:measured")
    path = STATE / "reports" / f"drift-{run_id}.html"
    client.log_dict(run_id, as_json(verdict), "drift.json")
    save_page(path, page("drift.html.jinja", verdict=verdict, run_id=run_id), "drift")
    client.log_artifact(run_id, str(path))
    kill_point("drift:logged")
    client.set_terminated(run_id, "FINISHED")
    return run_id, path


def metrics(verdict: Verdict) -> dict[str, float]:
    found = {"drift/alarm": float(verdict.alarm), "drift/p_holm": min(verdict.adjusted.values())}
    for part in verdict.parts:
        name = f"drift/{part.name.replace(' ', '_')}"
        found |= {f"{name}.p": part.p, f"{name}.p_holm": verdict.adjusted[part.name], f"{name}.effect": part.effect}
    return found


def as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "alarm": verdict.alarm,
        "compared": [{"kind": one.kind, "incoming": one.incoming, "old": one.old} for one in verdict.compared],
        "parts": [asdict(part) | {"p_holm": verdict.adjusted[part.name]} for part in verdict.parts],
        "untested": verdict.untested,
        "notes": verdict.notes,
        "words": {kind: [asdict(word) for word in drift.words] for kind, drift in verdict.found.items()},
        "unlike": {kind: [{"row": text.place + 1, "words": text.words} for text in drift.unlike] for kind, drift in verdict.found.items()},
    }
