"""Train the judges of a profile: those to train with, and those to measure with.

    python -m flows.train_judges --profile world            # where there are none yet
    python -m flows.train_judges --profile world --replace  # new ones; later scores are not
                                                            # comparable with earlier ones

`retrain` calls this where a profile has no judges, and otherwise leaves them alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from prefect import flow

from tasks import base, parent
from tasks.calibrate import gists, write_card
from tasks.console import Steps, metric_table
from tasks.console import console as terminal
from tasks.data import Data, reproduce
from tasks.failures import told
from tasks.judges import Judges, Role, examine, find_judge, train_judge, wanted_by_any
from tasks.memo import Context, Done
from tasks.profiles import Profile, WorldData, load_profile
from tasks.server import prefect_api

ROLES: tuple[Role, ...] = ("training", "gate")
# What has learned who did what already is a better start than the base: fewer steps, and fewer seeds that learn it late.
# The first of them that there is in the role.
ORIGINS = {
    "question-generator": ("qagen",), "question-answerer": ("question-generator",), "factcc": ("question-generator", "qagen"),
}  # fmt: skip
JUDGE_METRICS = [
    f"judge/{name}/auc"
    for name in (
        "quals",
        "quals_low",
        "quals_worst",
        "qags",
        "qags_worst",
        "factcc",
        "factcc_worst",
        "unigrams",
        "bigrams",
        "trigrams",
        "worst_sentence",
        "values",
    )
]


def ready_judges(
    context: Context,
    profile: Profile,
    data: Data,
    start: Done,
    steps: Steps,
    replace: bool = False,
    arms: Sequence[Profile] = (),
    roles: Sequence[Role] = ROLES,
) -> tuple[dict[Role, Judges], dict[str, Done]]:
    """The judges of each role, for this profile and `arms` of it, trained only where missing, and on the world their examinations."""
    judges: dict[Role, Judges] = {}
    examined: dict[str, Done] = {}
    for role in roles:
        found = {model: None if replace else find_judge(profile, model, role) for model in wanted_by_any([profile, *arms], role)}
        judges[role] = {}
        for model, judge in found.items():
            origin = next((judges[role][name] for name in ORIGINS.get(model, ()) if name in judges[role]), start)
            judges[role][model] = steps.done(judge or train_judge(context, profile, data, origin, model, role))
        if isinstance(profile.data.source, WorldData):
            examined[role] = steps.done(examine(context, profile, data, judges[role], role))
    if "gate" in examined and not context.plan and None in gists(profile, judges["gate"]).values():  # a card of more labels stays
        write_card(profile, examined["gate"], judges["gate"])
    return judges, examined


@flow(name="train_judges", flow_run_name="train-judges-{profile.name}", validate_parameters=False)
def train_judges(profile: Profile, replace: bool = False, roles: Sequence[Role] = ROLES) -> dict[str, Done]:
    steps = Steps(profile)
    data = reproduce(profile)
    with parent.parent_run(profile, data, "train_judges") as context:
        start = steps.done(base.train_base(context, profile, data))
        _, examined = ready_judges(context, profile, data, start, steps, replace, roles=roles)
        parent.log_steps(context, steps.records)
    return examined


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="world")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--replace", action="store_true", help="train again though there are judges")
    parser.add_argument("--role", choices=ROLES, action="append", help="only those to train with, or only those to measure with")
    options = parser.parse_args(arguments)
    with told("train_judges"), prefect_api():
        examined = train_judges(load_profile(options.profile, options.set), options.replace, options.role or ROLES)
    if examined:
        terminal.print(metric_table("AUC of telling clean from planted errors", examined, JUDGE_METRICS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
