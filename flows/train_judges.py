"""Train the judges of a profile: one QAGen to train with, one to measure with.

    python -m flows.train_judges --profile world            # where there are none yet
    python -m flows.train_judges --profile world --replace  # new ones; later scores are not
                                                            # comparable with earlier ones

`retrain` calls this where a profile has no judges, and otherwise leaves them alone.
"""

from __future__ import annotations

import argparse
import sys

from prefect import flow

from tasks import base, parent
from tasks.console import Steps, metric_table
from tasks.console import console as terminal
from tasks.data import Data, reproduce
from tasks.failures import told
from tasks.judges import Role, examine_qagen, find_judge, train_qagen
from tasks.memo import Context, Done
from tasks.profiles import Profile, load_profile
from tasks.server import prefect_api

ROLES: tuple[Role, ...] = ("training", "gate")
JUDGE_METRICS = [f"judge/{name}/auc" for name in ("quals", "quals_worst", "unigrams", "bigrams", "trigrams", "worst_sentence", "values")]


def ready_judges(
    context: Context, profile: Profile, data: Data, start: Done, steps: Steps, replace: bool = False
) -> tuple[dict[str, Done], dict[str, Done]]:
    """The judge of each role, and on the world its examination; trained only where missing."""
    judges: dict[str, Done] = {}
    examined: dict[str, Done] = {}
    for role in ROLES:
        found = None if replace else find_judge(context, role)
        judges[role] = steps.done(found or train_qagen(context, profile, data, start, role))
        examination = examine_qagen(context, profile, data, judges[role], role)
        if examination:
            examined[role] = steps.done(examination)
    return judges, examined


@flow(name="train_judges", flow_run_name="train-judges-{profile.name}", validate_parameters=False)
def train_judges(profile: Profile, replace: bool = False) -> dict[str, Done]:
    steps = Steps(profile)
    data = reproduce(profile)
    with parent.parent_run(profile, data, "train_judges") as context:
        start = steps.done(base.train_base(context, profile, data))
        _, examined = ready_judges(context, profile, data, start, steps, replace)
    return examined


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="world")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--replace", action="store_true", help="train again though there are judges")
    options = parser.parse_args(arguments)
    with told("train_judges"), prefect_api():
        examined = train_judges(load_profile(options.profile, options.set), options.replace)
    if examined:
        terminal.print(metric_table("AUC of telling clean from planted errors", examined, JUDGE_METRICS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
