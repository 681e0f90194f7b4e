"""Why the steps of a run ran or were reused, and what the same would do now: nothing is run to tell it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from prefect import Task

from .console import Steps
from .data import TARGET, Data, DataFailed, read_data
from .environment import ROOT
from .memo import Context, Done, find_done, lease, newest_of
from .origin import fetched
from .parent import STEPS
from .profiles import Profile
from .tracking import children
from .verdicts import Step, differences

UNMADE = "made anew: "  # stands for the digest of what is not there yet


@dataclass(frozen=True)
class Past:
    """A step of a recorded run."""

    name: str
    what: str
    """`ran`, or where it was reused from, or how it ended."""
    seconds: float
    """That it took when it ran, in whichever run that was."""
    why: str


def past_of(client: MlflowClient, run: Run) -> list[Past]:
    """Its steps in order; of a run that did not end, those that it began."""
    text = fetched(client, run, STEPS)
    if text is not None:
        ids = dict.fromkeys(step["run_id"] for step in json.loads(text)["steps"])
        found = [client.get_run(run_id) for run_id in ids]
    else:
        found = children(client, run.info.experiment_id, run.info.run_id)
    return [_past(step, run.info.run_id) for step in found]


def _past(step: Run, parent: str) -> Past:
    tags, above = step.data.tags, step.data.tags.get("mlflow.parentRunId", "")
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime((step.info.start_time or 0) / 1000))
    why = tags.get("why", tags.get("error", "not recorded"))
    if above != parent:
        what, why = f"reused from {above[:12] or 'a run of its own'} of {day}", "same code, config, data and libraries"
    else:
        what = "ran" if "digest" in tags else str(step.info.status).lower()
    return Past(tags.get("step", "unknown"), what, float(tags.get("seconds", math.nan)), why)


class Collected(Steps):
    """Steps taken note of and not told of as they come."""

    def done(self, step: Done) -> Done:
        self.records.append(step)
        return step


@dataclass(frozen=True)
class Planned(Done):
    """A step that would run; its seconds are those of its last finished run, nan where there is none."""

    def file(self, name: str) -> tuple[str, str]:
        return "", f"{self.digest}/{name}"


def planned(context: Context, name: str, parts: dict[str, Any]) -> Done:
    """What a step would be now: the finished one of its key, else one that would run, and why."""
    client = MlflowClient()
    if done := find_done(client, context.experiment, parts["key"], name):
        return done
    newest = newest_of(client, context.experiment, name)
    seconds = float(newest.data.tags.get("seconds", math.nan)) if newest else math.nan
    if newest is None:
        why = "first time"
    elif "corrupt" in newest.data.tags:
        why = f"the files of run {newest.info.run_id} are damaged"
    else:
        before, now = json.loads(fetched(client, newest, "key.json") or b"{}"), json.loads(json.dumps(parts))
        makers = {found: found.removeprefix(UNMADE).partition("/")[0] for found in now["inputs"].values() if found.startswith(UNMADE)}
        changed = differences(Step(name, {}, parts=before), Step(name, {}, parts=now), makers)
        why = "; ".join(f"{kind}: {', '.join(what)}" for kind, what in changed.items()) or "asked for again"
    return Planned(name, "", parts["key"], "", f"{UNMADE}{name}", {}, seconds, False, why)


class Unmade(dict[str, tuple[str, str]]):
    """Files of data that would be made anew, whatever they are called."""

    def __missing__(self, name: str) -> tuple[str, str]:
        return "", f"{UNMADE}data/{name}"


def data_now(profile: Profile) -> tuple[Data, str]:
    """The data as they are if no stage would run, else a stand-in for them, and the stages that would run."""
    with lease("dvc", wait=600):
        command = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", f"{TARGET}@{profile.name}"]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode:
        raise DataFailed(f"data of profile {profile.name}:\n{told.stderr[-2000:]}")
    changed = json.loads(told.stdout or "{}")
    if not changed:
        return read_data(profile, {}), ""
    return Data(f"{UNMADE}data", Unmade(), {}, {}), ", ".join(changed)


@contextmanager
def plain_tasks() -> Iterator[None]:
    """Tasks called as the functions that they are: nothing runs, so Prefect has nothing to keep, and no server is started."""
    call = Task.__call__
    Task.__call__ = lambda self, *given, **named: self.fn(*given, **named)  # type: ignore[method-assign, assignment, misc]
    try:
        yield
    finally:
        Task.__call__ = call  # type: ignore[method-assign, assignment]


def total(steps: Sequence[Done]) -> str:
    """How many would run and how long that takes, from history."""
    would = [step for step in steps if not step.reused]
    known = [step.seconds for step in would if not math.isnan(step.seconds)]
    unknown = f", and {len(would) - len(known)} that never ran" if len(known) < len(would) else ""
    return f"{len(would)} of {len(steps)} steps would run: {sum(known):.1f} s from history{unknown}"
