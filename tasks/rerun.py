"""A recorded run made again with no memo, and the verdict on it in MLflow."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from rich.markup import escape

from factloop.faults import kill_point

from .console import say
from .keys import digest
from .origin import Origin, Refused, finished_steps, have_commit, parent_of, read_origin, read_steps
from .scratch import differing_versions, environment, get_data, make_tree, run_again, scratch_folder
from .tracking import begin
from .verdicts import Judged, Verdict, explained, first_divergence, judge, overall

STEP = "rerun"
ENDED = re.compile(r"[\w-]+ +(reused|\d+ s )")  # what `retrain` says of a step
ROLES = ("training", "gate")
VERDICTS: tuple[Verdict, ...] = ("identical", "within", "different")


@dataclass(frozen=True)
class Outcome:
    """What a rerun came to."""

    of: Run
    steps: list[Judged]
    tolerance: float
    notes: list[str]
    """What else a person should know: judges or packages that are not the recorded ones."""

    @property
    def verdict(self) -> Verdict:
        return overall(self.steps)

    @property
    def first(self) -> Judged | None:
        return first_divergence(self.steps)

    def count(self, verdict: Verdict) -> int:
        return sum(step.count(verdict) for step in self.steps)

    def summary(self) -> str:
        if self.first is None:
            return f"identical: all {self.count('identical')} metrics and the files of all steps, to the last bit"
        parted = f"first step that diverged: {self.first.name}; what differs: {explained(self.first)}"
        return f"{self.verdict}: {self.count('identical')} metrics identical, {self.count('within')} within {self.tolerance:g}," + (
            f" {self.count('different')} different; {parted}"
        )


def rerun(run_id: str, tolerance: float, keep: Path | None) -> Outcome:
    """Make a parent run again in a scratch folder, compare, and leave the verdict in the store; Refused says why it cannot be."""
    client = MlflowClient()
    origin = read_origin(client, parent_of(client, run_id))
    recorded = read_steps(client, origin.run)
    stages = [*judges_first(client, origin), (origin, origin.verb)]
    for stage, _ in stages:
        have_commit(stage.commit)
    with scratch_folder(run_id, keep) as folder:
        for place, (stage, verb) in enumerate(stages):
            _stage(folder / f"tree-{place}", stage, verb)
            _only_judges(_client(folder), {step.key for step in recorded})
        again = _newest(_client(folder), origin)
        made = read_steps(_client(folder), again)
        if keep:
            say(f"kept    {escape(str(folder))}; `git worktree remove --force` takes its tree-{len(stages) - 1} away")
    return leave_verdict(client, Outcome(origin.run, judge(recorded, made, tolerance), tolerance, notes(origin, recorded, made)))


def _stage(tree: Path, stage: Origin, verb: str) -> None:
    """A parent run made again, or only its judges."""
    dirty = f" and its working tree's diff of {len(stage.diff.splitlines())} lines" if stage.diff.strip() else ""
    say(f"[bold]{verb}[/bold] of run {stage.run_id}: commit {stage.commit[:12]}{dirty}, data {stage.run.data.tags['data_version'][:12]}")
    make_tree(tree, stage)
    python = environment(tree.parent, stage.constraints, say)
    get_data(tree, python, stage, say)
    run_again(tree, python, stage, verb, lambda line: say(f"  {escape(line)}") if ENDED.match(line) else None)


def _client(folder: Path) -> MlflowClient:
    address = f"sqlite:///{folder}/mlflow.db"
    return MlflowClient(address, address)


def is_judge(step: dict[str, Any]) -> bool:
    return bool(step["version"]) and str(step["name"]).endswith(tuple(f"-{role}" for role in ROLES))


def judges_first(client: MlflowClient, origin: Origin) -> list[tuple[Origin, str]]:
    """The runs that trained judges which this one only used, oldest first: they are made again before it, each as it was."""
    found: dict[str, Run] = {}
    for step in filter(is_judge, finished_steps(client, origin.run)):
        maker = client.get_run(step["run_id"]).data.tags.get("mlflow.parentRunId", origin.run_id)
        if maker != origin.run_id and maker not in found:
            try:
                found[maker] = client.get_run(maker)
            except MlflowException:
                raise Refused(f"judge {step['name']} was trained by run {maker}, which is gone: this run cannot be made again") from None
    return [(read_origin(client, run), "train_judges") for run in sorted(found.values(), key=lambda run: run.info.start_time)]


def _only_judges(client: MlflowClient, keys: set[str]) -> None:
    """Take their roles from judges that the recorded run did not use, so that the next stage trains those that it did."""
    for model in client.search_registered_models():
        for role in ROLES:
            number = model.aliases.get(role)
            if number and client.get_model_version(model.name, number).tags["run_key"] not in keys:
                client.delete_registered_model_alias(model.name, role)


def _newest(client: MlflowClient, origin: Origin) -> Run:
    """The parent run that the scratch store has of it."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    asked = f"tags.step = '{origin.verb}' and attributes.status = 'FINISHED'"
    return client.search_runs(experiments, asked, order_by=["attributes.start_time DESC"], max_results=1)[0]


def notes(origin: Origin, recorded: Sequence[Any], made: Sequence[Any]) -> list[str]:
    """Judges that came out under another key, and what the record cannot tell."""
    told, keys = [], {step.name: step.key for step in made}
    judges = [step for step in recorded if step.name.endswith(tuple(f"-{role}" for role in ROLES)) and not step.name.startswith("judge-")]
    if other := [step.name for step in judges if keys.get(step.name) != step.key]:
        told.append(f"judges with other keys than the recorded ones: {', '.join(other)}; what they measured does not compare")
    if unknown := [step.name for step in recorded if step.key and not step.hardware]:
        told.append(f"hardware was not recorded of {', '.join(unknown)}")
    if differing_versions(origin.constraints):
        told.append("run in an environment made from its constraints.txt")
    return told


def leave_verdict(client: MlflowClient, outcome: Outcome) -> Outcome:
    """One run in the store for a rerun: taken up again where a process that was killed had begun it."""
    of = outcome.of
    earlier = client.search_runs([of.info.experiment_id], f"tags.rerun_of = '{of.info.run_id}'", max_results=1000)
    begun = [run for run in earlier if run.info.status == "RUNNING"]
    tags = {name: of.data.tags.get(name, "unknown") for name in ("profile", "data_version", "git_commit")}
    tags |= {"step": STEP, "rerun_of": of.info.run_id, "run_key": digest({"rerun_of": of.info.run_id, "number": len(earlier)})}
    run = begin(client, begun[0] if begun else None, of.info.experiment_id, f"rerun {of.info.run_id[:12]}", tags)
    run_id = run.info.run_id
    kill_point("rerun:begun")
    counts = {f"rerun/{verdict}": outcome.count(verdict) for verdict in VERDICTS}
    metrics = [Metric(name, count, 0, 0) for name, count in counts.items()]
    client.log_batch(run_id, metrics=metrics, params=[Param("tolerance", str(outcome.tolerance))])
    for name, value in {"verdict": outcome.verdict, "summary": outcome.summary()}.items():
        client.set_tag(run_id, name, value[:5000])
    client.log_dict(run_id, as_json(outcome), "verdicts.json")
    kill_point("rerun:told")
    client.set_terminated(run_id, "FINISHED")
    return outcome


def as_json(outcome: Outcome) -> dict[str, Any]:
    """All verdicts; a value that is no finite number as text, for JSON has none."""
    steps = [asdict(step) | {"diverged": step.diverged} for step in outcome.steps]
    for step in steps:
        for metric in step["metrics"]:
            metric |= {side: str(metric[side]) for side in ("recorded", "rerun") if not math.isfinite(metric[side] or 0)}
    return {
        "rerun_of": outcome.of.info.run_id,
        "verdict": outcome.verdict,
        "tolerance": outcome.tolerance,
        "first_divergence": outcome.first.name if outcome.first else None,
        "what_differs": explained(outcome.first) if outcome.first else None,
        "notes": outcome.notes,
        "steps": steps,
    }
