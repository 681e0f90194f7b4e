"""Make a recorded run again from its commit, its data and its environment, and see whether every metric comes out the same.

    python -m flows.rerun 3f2a...                      # a parent run of retrain or train_judges; exit 1 where a metric differs
    python -m flows.rerun 3f2a... --tolerance 0.01     # a GPU adds up in another order each time
    python -m flows.rerun 3f2a... --explain            # nothing is run: why its steps ran, what would run now, at what cost

For a run of another machine set MLFLOW_TRACKING_URI and a DVC remote. It runs the code that the run recorded: rerun only
what you would run. See docs/rerun.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from rich.markup import escape
from rich.table import Table

from flows.retrain import summary_evaluations, summary_models, table_chain
from flows.train_judges import ready_judges
from tasks import base
from tasks.champions import evaluated_champion
from tasks.console import console as terminal
from tasks.console import number, say
from tasks.explain import Collected, data_now, past_of, plain_tasks, planned, total
from tasks.failures import told
from tasks.gates import GATED
from tasks.judges import with_judges
from tasks.memo import Context
from tasks.origin import Refused, parent_of, read_config
from tasks.parent import make_store
from tasks.profiles import Profile, load_profile
from tasks.rerun import VERDICTS, Outcome, rerun
from tasks.scratch import overrides
from tasks.verdicts import TOLERANCE, changes

SHOWN = 40  # metrics that are not identical


def show(outcome: Outcome) -> None:
    """By step how many metrics are the same, then each that is not."""
    table = Table(title=f"run {outcome.of.info.run_id}, made again", title_justify="left", title_style="bold")
    for column in ("step", "files", "identical", f"within {outcome.tolerance:g}", "different", "what differs"):
        table.add_column(column)
    for step in outcome.steps:
        counts = [str(step.count(verdict) or "") for verdict in VERDICTS]
        differs = f"not in {step.missing}" if step.missing else ", ".join(step.differs)
        table.add_row(step.name, "same" if step.same_files else "different", *counts, escape(differs))
    terminal.print(table)
    others = [(step.name, metric) for step in outcome.steps for metric in step.metrics if metric.verdict != "identical"]
    for name, metric in others[:SHOWN]:
        say(f"{metric.verdict:9} {escape(name)} {escape(metric.name)}: recorded {metric.recorded!r}, rerun {metric.rerun!r}")
    if len(others) > SHOWN:
        say(f"and {len(others) - SHOWN} more: verdicts.json of the run in MLflow has all")
    for note in outcome.notes:
        say(escape(note))
    say(f"[bold]{escape(outcome.summary())}[/bold]")


def plan(context: Context, profile: Profile, verb: str) -> tuple[Collected, str]:
    """The chain as `retrain` would go through it now, each step reused or to be run; and the data stages that would run."""
    steps = Collected(profile)
    data, stages = data_now(profile)
    with plain_tasks():
        start = steps.done(base.train_base(context, profile, data))
        judges, _ = ready_judges(context, profile, data, start, steps)
        if verb == "retrain":
            context = with_judges(context, *judges.values())
            table_chain(context, profile, data, start, judges["training"], steps)
            models = summary_models(context, profile, data, start, judges["training"], steps)
            summary_evaluations(context, profile, data, models, judges["gate"], steps)
            for model in GATED:
                evaluated_champion(context, profile, data, model, judges["gate"], steps)
    return steps, stages


def explain(client: MlflowClient, run: Run) -> None:
    """Why each step of a run ran or was reused; then what would be so now, and at what cost."""
    verb = run.data.tags["step"]
    past = Table(title=f"{verb} {run.info.run_id}, {run.info.status.lower()}", title_justify="left", title_style="bold")
    for column in ("step", "in this run", "seconds", "why"):
        past.add_column(column)
    for step in past_of(client, run):
        past.add_row(step.name, step.what, number(step.seconds), escape(step.why))
    terminal.print(past)
    recorded = read_config(client, run)
    here = load_profile(recorded["name"]).model_dump(mode="json")
    for change in changes(recorded["data"], here["data"], "data"):
        say(f"other data by configs/{recorded['name']}.yaml now: {escape(change)}")
    profile = load_profile(recorded["name"], overrides(recorded | {"data": here["data"]}, here))
    context = Context(run.info.experiment_id, run.info.run_id, profile.name, profile.device, profile.threads, {}, plan=planned)
    steps, stages = plan(context, profile, verb)
    now = Table(title=f"{verb} with this config, now", title_justify="left", title_style="bold")
    for column in ("step", "now", "seconds", "why"):
        now.add_column(column)
    names: set[str] = set()
    for done in steps.records:
        name = f"{done.name}, of the champion" if done.name in names else done.name
        names.add(done.name)
        now.add_row(name, "reused" if done.reused else "would run", "" if done.reused else number(done.seconds), escape(done.why))
    terminal.print(now)
    if stages:
        say(f"data stages that would run: {escape(stages)}; where their outs come out as they were, what reads them is reused after all")
    say(f"[bold]{total(steps.records)}[/bold]")


def tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1 or math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text}: a share of a metric, from 0 to 1")
    return value


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the id of a parent run")
    parser.add_argument("--explain", action="store_true", help="run nothing: tell why each step ran, and what would run now")
    parser.add_argument(
        "--tolerance",
        type=tolerance,
        default=TOLERANCE,
        help=f"largest relative difference that counts as the same (default: {TOLERANCE:g})",
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="run in this new folder and leave it, to look at")
    options = parser.parse_args(arguments)
    if options.explain and (options.keep or options.tolerance != TOLERANCE):
        parser.error("--explain runs nothing: there is nothing to keep or to hold to a tolerance")
    with told("rerun", Refused):
        make_store()
        if options.explain:
            client = MlflowClient()
            explain(client, parent_of(client, options.run))
            return 0
        outcome = rerun(options.run, options.tolerance, options.keep)
        show(outcome)
    return 1 if outcome.verdict == "different" else 0


if __name__ == "__main__":
    sys.exit(main())
