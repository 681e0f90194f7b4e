"""Judges: QAGen models that score (training) or measure (gate), used as they stand once promoted."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mlflow.tracking import MlflowClient
from prefect import task

from factloop.world import VERSION

from .data import Data
from .memo import Context, Done, once, recall_version
from .profiles import Profile, WorldData
from .serving import Served, aliased

Role = Literal["training", "gate"]
SEEDS = {"training": 1000, "gate": 2000}  # apart from each other and from the models'
# The role comes last: a judge that has it is not looked at again.
ALIASES: dict[Role, tuple[str, ...]] = {"training": ("training",), "gate": ("champion", "gate")}
EXAMPLE = "Mara Velling wrote Silent Harbour in 1984."


def find_judge(context: Context, role: Role) -> Done | None:
    """The judge that is champion in a role, verified; None where there is none."""
    anew = f"`python -m flows.train_judges --profile {context.profile} --replace` makes the judges anew, the same if nothing else changed"
    version = aliased(MlflowClient(), f"{context.profile}-qagen", role)
    return recall_version(f"qagen-{role}", version, anew) if version else None


@task(task_run_name="qagen-{role}")
def train_qagen(context: Context, profile: Profile, data: Data, base: Done, role: Role) -> Done:
    """Train the judge of a role and give it the role's alias."""
    from factloop.steps import judge

    return once(
        context, f"qagen-{role}", judge.train,
        config={"training": profile.judges.qagen.__dict__, "seed": SEEDS[role] + profile.seed},
        inputs={"base": base, "questions": data["questions.train"]},
        served=Served("qagen", {"passage": EXAMPLE}, ("question", "answer"), {"role": role}, ALIASES[role]),
    )  # fmt: skip


@task(task_run_name="judge-{role}")
def examine_qagen(context: Context, profile: Profile, data: Data, qagen: Done, role: Role) -> Done | None:
    """On the world: how well QUALS with this judge tells planted errors from clean summaries."""
    from factloop.steps import judge

    if not isinstance(profile.data.source, WorldData):
        return None
    return once(
        context, f"judge-{role}", judge.examine,
        config={
            "quals": profile.judges.quals.__dict__, "world_seed": profile.data.source.seed, "world_version": VERSION,
            "examples": profile.test_examples, "errors_each": max(1, profile.test_examples // 3), "seed": profile.seed,
        },
        inputs={"qagen": qagen, "summaries": data["summaries.test"]},
    )  # fmt: skip


def judge_keys(*judges: Done) -> str:
    return " ".join(f"{judge.name}:{judge.key[:12]}" for judge in judges)


def with_judges(context: Context, *judges: Done) -> Context:
    return replace(context, tags=context.tags | {"judge_keys": judge_keys(*judges)})
