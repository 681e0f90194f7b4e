"""Judges: models that score (training) or measure (gate), used as they stand once promoted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from mlflow.tracking import MlflowClient
from prefect import task

from factloop.settings import TrainingSettings
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
QAGS = ("answer-extractor", "question-generator", "question-answerer")
MODELS = ("qagen", *QAGS, "factcc")
EXAMPLE = "Mara Velling wrote Silent Harbour in 1984."
ASKED = "When did Mara Velling write Silent Harbour?"


def wanted(profile: Profile, role: Role) -> tuple[str, ...]:
    """The models that judge in a role, by registered name, each after those that it starts from.

    Of the gate all that the profile trains, of training those that something is chosen by: QUALS always, for it chooses the
    questions about tables, QAGS and FactCC where `summarizer.score` names them, and FactCC where it stands for the truth beside it.
    """
    if role == "gate":
        return ("qagen", *(QAGS if profile.judges.qags_models else ()), *(("factcc",) if profile.judges.factcc_model else ()))
    second = profile.summarizer.validated and not isinstance(profile.data.source, WorldData) and profile.judges.factcc_model
    chosen = selecting(profile)
    return (*chosen, *(("factcc",) if second and "factcc" not in chosen else ()))


def selecting(profile: Profile) -> tuple[str, ...]:
    """The models, in the role of training, that score what the summariser chooses from."""
    by = profile.summarizer.judged_by
    return ("qagen", *(QAGS if "qags" in by else ()), *(("factcc",) if "factcc" in by else ()))


def wanted_by_any(profiles: Sequence[Profile], role: Role) -> list[str]:
    """The models that judge in a role for any of several profiles, such as the arms of an ablation."""
    asked = {model for profile in profiles for model in wanted(profile, role)}
    return [model for model in MODELS if model in asked]


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


def _training(profile: Profile, model: str) -> tuple[str, TrainingSettings | None, str, dict[str, str], tuple[str, ...]]:
    """The step that trains a model, its settings, its data, and an example and the columns of what it serves."""
    settings, asked, read = profile.judges.qags_models, "questions.train", {"text": EXAMPLE}
    pair = {"document": EXAMPLE, "summary": EXAMPLE}
    own: TrainingSettings | None = getattr(settings, model.replace("-", "_"), None)
    return {
        "qagen": ("factloop.steps.qagen:train", profile.judges.qagen, asked, {"passage": EXAMPLE}, ("question", "answer")),
        "answer-extractor": ("factloop.steps.qags:train_extractor", own, asked, read, ("answers",)),
        "question-generator": ("factloop.steps.qags:train_generator", own, asked, read | {"answer": "1984"}, ("question",)),
        "question-answerer": ("factloop.steps.qags:train_answerer", own, asked, read | {"question": ASKED}, ("answer",)),
        "factcc": ("factloop.steps.factcc:train", profile.judges.factcc_model, "claims", pair, ("correct", "sentences", "status")),
    }[model]  # fmt: skip


@task(task_run_name="{model}-{role}")
def train_judge(context: Context, profile: Profile, data: Data, base: Done, model: str, role: Role) -> Done:
    """Train a model that judges, from the base or the model that it starts from, and give it the alias of its role."""
    step, settings, rows, example, outputs = _training(profile, model)
    config = {"training": settings.__dict__, "seed": SEEDS[role] + profile.seed}
    if model != "factcc":
        config["short_passages"] = profile.judges.short_passages
    if model == "question-answerer" and profile.judges.qags_models:
        config["unanswerable"] = profile.judges.qags_models.unanswerable
    return once(
        context, f"{model}-{role}", step, config=config, inputs={"base": base, rows.partition(".")[0]: data[rows]},
        served=Served(model, example, outputs, {"role": role}, ALIASES[role]),
    )  # fmt: skip


@task(task_run_name="judge-{role}")
def examine(context: Context, profile: Profile, data: Data, judges: Judges, role: Role) -> Done:
    """On the world: how well the judges tell planted errors from clean summaries."""
    assert isinstance(profile.data.source, WorldData)
    return once(
        context, f"judge-{role}", "factloop.steps.judge:examine",
        config={
            **judge_settings(profile), "world_seed": profile.data.source.seed, "world_version": VERSION,
            "examples": profile.test_examples, "errors_each": max(1, profile.test_examples // 3), "seed": profile.seed,
        },
        inputs={**judges, "summaries": data["summaries.test"]},
    )  # fmt: skip


def judge_settings(profile: Profile) -> dict[str, Any]:
    """What the judges are told, as part of the config of a step that they judge in."""
    more = {"qags": profile.judges.qags.__dict__} if profile.judges.qags_models else {}
    more |= {"factcc": profile.judges.factcc.__dict__} if profile.judges.factcc_model else {}
    return {"quals": profile.judges.quals.__dict__} | more


def judge_keys(*groups: Judges) -> str:
    return " ".join(f"{judge.name}:{judge.key[:12]}" for judges in groups for judge in judges.values())


def with_judges(context: Context, *groups: Judges) -> Context:
    return replace(context, tags=context.tags | {"judge_keys": judge_keys(*groups)})
