"""A person's own file judged: which judge and model, the run, the table of scores, the report."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from prefect import task

from factloop.corpora.own import Kind
from factloop.corpora.rows import Row, write_rows
from factloop.faults import kill_point

from .environment import STATE
from .evidence import token_plot
from .gate import each_example
from .judges import Judges, gate_judges, judge_keys, judge_settings
from .keys import file_digest
from .memo import Context, Done, once, recall_version
from .parent import experiment_id, git
from .profiles import Profile
from .report import page, save_page
from .serving import aliased

WRITERS: dict[Kind, str] = {"summaries": "summarizer", "tables": "table-qa"}
SHOWN = 20  # examples in the report, worst first
BROKEN = "bad row: "  # status of what could not be read
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the start of one


class NotReady(ValueError):
    """A judge or a model that is asked for is not there."""


@dataclass(frozen=True)
class Own:
    """What is to be judged, and by what."""

    name: str
    """Of the person's file."""
    kind: Kind
    profile: Profile
    rows: tuple[str, str]
    """The rows as they were read, in a file of the state folder, and its SHA-256."""
    judges: Judges
    """For summaries: the gate judges of the profile."""
    model: Done | None
    """What writes the summaries or answers, where they are not the person's."""
    writer: str


def prepare_own(name: str, kind: Kind, rows: list[Row], profile: Profile, model: str | None) -> Own:
    """Find judge and model, keep the rows as an input; NotReady says what is missing."""
    judges = gate_judges(profile) if kind == "summaries" else {}
    writer, found = find_model(profile, kind, model) if model else ("the file", None)
    scratch = STATE / "own" / f"{os.getpid()}.jsonl"  # a run beside this one has its own
    write_rows(scratch, rows)
    digest = file_digest(scratch)
    path = scratch.replace(scratch.with_name(f"{digest}.jsonl"))
    kill_point("rows:kept")
    return Own(name, kind, profile, (str(path), digest), judges, found, writer)


def find_model(profile: Profile, kind: Kind, name: str) -> tuple[str, Done]:
    """A registered model of this kind: `models:/name@alias`, `models:/name/version`, or the profile's champion."""
    uri = name if name.startswith("models:/") else f"models:/{profile.name}-{name}@champion"
    parts = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", uri)
    if not parts:
        raise NotReady(f"--model {name!r}: write models:/NAME@ALIAS, models:/NAME/VERSION, or {WRITERS[kind]}")
    registered, alias, number = parts.groups()
    if not registered.endswith(f"-{WRITERS[kind]}"):
        raise NotReady(f"--model {name!r}: {kind} need a model called <profile>-{WRITERS[kind]}, this is {registered!r}")
    client = MlflowClient()
    try:
        version = aliased(client, registered, alias) if alias else client.get_model_version(registered, number)
    except MlflowException as error:
        raise NotReady(f"--model {name!r}: {error.message}") from None
    if version is None:
        raise NotReady(f"--model {name!r}: there is no {uri}; python -m flows.retrain --profile {profile.name} makes one")
    return f"models:/{registered}/{version.version}", recall_version(WRITERS[kind], version, "restore its files, or name another version")


@task(task_run_name="evaluate")
def judge_rows(own: Own) -> Done:
    profile = own.profile
    tags = {"profile": profile.name, "data_version": own.rows[1], "git_commit": git("rev-parse", "HEAD"), "model": own.writer}
    tags |= {"judge_keys": judge_keys(own.judges)} if own.judges else {}
    context = Context(experiment_id(profile.name), "", profile.name, profile.device, profile.threads, tags, profile.isolation)
    inputs: dict[str, Done | tuple[str, str]] = {**own.judges, "rows": own.rows}
    if own.model:
        inputs["model"] = own.model
    if own.kind == "tables":
        return once(context, "evaluate", "factloop.steps.own:evaluate_answers", config={}, inputs=inputs)
    return once(context, "evaluate", "factloop.steps.own:evaluate_summaries", config=judge_settings(profile), inputs=inputs)


def harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula: an apostrophe before what it might."""
    return f"'{text}" if text.startswith(FORMULA) else text


def scores_table(done: Done) -> str:
    """One row per row of the person's file, in its order, as CSV."""
    names = list(next(each_example(done))["scores"])
    asked = ("question", "answer") if "quals" in names else ()
    stream = io.StringIO()
    table = csv.writer(stream)
    table.writerow(["id", "status", *names, *(f"worst_{name}" for name in asked), "output"])
    for row in each_example(done):
        worst: Row = next(iter(row["evidence"].get("quals", [])), {})
        scores = ["" if (value := row["scores"][name]) is None else f"{value:.6g}" for name in names]
        texts = [*(worst.get(name, "") for name in asked), row["output"]]
        table.writerow([harmless(row["id"]), row["status"], *scores, *map(harmless, texts)])
    return stream.getvalue()


def write_scores(table: str, path: Path) -> None:
    """Write the table whole or not at all."""
    scratch = path.with_name(path.name + ".unfinished")
    try:
        with scratch.open("w", encoding="utf-8", newline="") as stream:
            stream.write(table[: len(table) // 2])
            stream.flush()
            kill_point("scores:half-written")
            stream.write(table[len(table) // 2 :])
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    kill_point("scores:renamed")


@task(task_run_name="report")
def write_pages(own: Own, done: Done, scores: Path) -> Path:
    """The report and the table of scores, both kept with the run; returns the report's path."""
    path = STATE / "reports" / f"evaluate-{done.run_id}.html"
    names = [name for name in done.metrics if f"{name}.low" in done.metrics]
    broken = [row for row in each_example(done) if row["status"].startswith(BROKEN)]
    shown = nsmallest(SHOWN, (row for row in each_example(done) if not row["status"].startswith(BROKEN)), key=_badness)
    save_page(
        path,
        page(
            "evaluate.html.jinja",
            own=own,
            done=done,
            names=names,
            rows=shown,
            broken=broken,
            statuses=statuses(each_example(done)),
            token_plot=token_plot,
        ),
        "evaluate",
    )
    client = MlflowClient()
    table = scores_table(done)
    client.log_artifact(done.run_id, str(path))
    client.log_text(done.run_id, table, f"scores/{scores.name}")
    kill_point("scores:logged")
    write_scores(table, scores)  # last: where there is one, nothing is left to do, and the next run refuses to write over it
    return path


def _badness(row: Row) -> tuple[Any, ...]:
    """Worst first: by QUALS, then by the share of values and words that are in the source."""
    scores = row["scores"]
    return tuple((scores.get(name) is None, scores.get(name) or 0) for name in ("quals", "values", "unigrams", "rougeL"))


def statuses(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows have each status, numbers in it left out."""
    return Counter(row["status"].partition(":")[0].replace("_", " ") for row in rows)
