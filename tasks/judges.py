"""Judges: models that score (training) or measure (gate), used as they stand once promoted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from mlflow.tracking import MlflowClient
from prefect import task

from factloop.world import VERSION

from .data import Data
from .memo import Context, Done, once, recall_version
from .profiles import Profile, ProfileError, WorldData
from .serving import Served, aliased

Role = Literal["training", "gate"]
Judges = dict[str, Done]
"""Models that judge together, by registered name."""
SEEDS = {"training": 1000, "gate": 2000}  # apart from each other and from the models'
# The role comes last: a judge that has it is not looked at again.
ALIASES: dict[Role, tuple[str, ...]] = {"training": ("training",), "gate": ("champion", "gate")}
EXAMPLE = "Mara Velling wrote Silent Harbour in 1984."


def wanted(profile: Profile, role: Role) -> tuple[str, ...]:
    """The models that judge in a role, by registered name."""
    return ("qagen",)


def find_judge(profile: Profile, model: str, role: Role) -> Done | None:
    """The judge's model that is champion in a role, verified; None where there is none."""
    anew = f"`python -m flows.train_judges --profile {profile.name} --replace` makes the judges anew, the same if nothing else changed"
    version = aliased(MlflowClient(), f"{profile.name}-{model}", role)
    return recall_version(f"{model}-{role}", version, anew) if version else None


def gate_judges(profile: Profile) -> Judges:
    """All that measure; raises ProfileError where one is missing."""
    found = {model: find_judge(profile, model, "gate") for model in wanted(profile, "gate")}
    if missing := [model for model, judge in found.items() if judge is None]:
        train = f"python -m flows.train_judges --profile {profile.name}"
        raise ProfileError(f"profile {profile.name} has no judge yet: {train} trains what is missing ({', '.join(missing)})")
    return {model: judge for model, judge in found.items() if judge}


@task(task_run_name="{model}-{role}")
def train_judge(context: Context, profile: Profile, data: Data, base: Done, model: str, role: Role) -> Done:
    """Train a model that judges and give it the alias of its role."""
    from factloop.steps import judge

    return once(
        context, f"qagen-{role}", judge.train,
        config={"training": profile.judges.qagen.__dict__, "seed": SEEDS[role] + profile.seed},
        inputs={"base": base, "questions": data["questions.train"]},
        served=Served("qagen", {"passage": EXAMPLE}, ("question", "answer"), {"role": role}, ALIASES[role]),
    )  # fmt: skip


@task(task_run_name="judge-{role}")
def examine(context: Context, profile: Profile, data: Data, judges: Judges, role: Role) -> Done:
    """On the world: how well the judges tell planted errors from clean summaries."""
    from factloop.steps import judge

    assert isinstance(profile.data.source, WorldData)
    return once(
        context, f"judge-{role}", judge.examine,
        config={
            **judge_settings(profile), "world_seed": profile.data.source.seed, "world_version": VERSION,
            "examples": profile.test_examples, "errors_each": max(1, profile.test_examples // 3), "seed": profile.seed,
        },
        inputs={**judges, "summaries": data["summaries.test"]},
    )  # fmt: skip


def judge_settings(profile: Profile) -> dict[str, Any]:
    """What the judges are told, as part of the config of a step that they judge in."""
    return {"quals": profile.judges.quals.__dict__}


def judge_keys(*groups: Judges) -> str:
    return " ".join(f"{judge.name}:{judge.key[:12]}" for judges in groups for judge in judges.values())


def with_judges(context: Context, *groups: Judges) -> Context:
    return replace(context, tags=context.tags | {"judge_keys": judge_keys(*groups)})
