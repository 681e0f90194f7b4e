"""The summariser: maximum likelihood, then contrast on candidates that the training judge scored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prefect import task

from .data import Data
from .judges import Judges, judge_settings, selecting, wanted
from .memo import Context, Done, once
from .profiles import Profile
from .serving import Served

EXAMPLE = "Mara Velling wrote Silent Harbour in 1984. Jonas Falk moved to Kelso."


def _served(training: str) -> Served:
    return Served("summarizer", {"document": EXAMPLE}, ("summary",), {"training": training})


@task(task_run_name="summarizer-mle")
def train_likelihood(context: Context, profile: Profile, data: Data, base: Done) -> Done:
    return once(
        context, "summarizer-mle", "factloop.steps.summarizer:train_likelihood",
        config={"training": profile.summarizer.likelihood.__dict__, "seed": profile.seed},
        inputs={"base": base, "summaries": data["summaries.train"]},
        served=_served("mle"),
    )  # fmt: skip


@task(task_run_name="candidates{suffix}")
def sample_candidates(context: Context, profile: Profile, data: Data, model: Done, suffix: str = "") -> Done:
    return once(
        context, f"candidates{suffix}", "factloop.steps.summarizer:sample_candidates",
        config=profile.summarizer.candidates.model_dump() | {"seed": profile.seed},
        inputs={"model": model, "summaries": data["summaries.train"]},
    )  # fmt: skip


@task(task_run_name="scores{suffix}")
def score_candidates(context: Context, profile: Profile, candidates: Done, judges: Judges, suffix: str = "") -> Done:
    return once(
        context, f"scores{suffix}", "factloop.steps.summaries:score_candidates",
        config=judge_settings(profile) | {"seed": profile.seed},
        inputs={**{model: judges[model] for model in selecting(profile)}, "candidates": candidates},
    )  # fmt: skip


@dataclass(frozen=True)
class Validation:
    """What judges summaries of validation documents while a summariser is trained."""

    data: Data
    judges: Judges
    """In the role of training."""
    mix: Done
    """The scores of the first round, by whose scales those of all rounds are mixed."""

    def config(self, profile: Profile) -> dict[str, Any]:
        summarizer = profile.summarizer
        told = {"score": summarizer.score, "validation": asdict(summarizer.validation), "decoding": summarizer.decoding.__dict__}
        return judge_settings(profile) | told

    def inputs(self, profile: Profile) -> dict[str, Done | tuple[str, str]]:
        judges = {model: self.judges[model] for model in wanted(profile, "training")}
        return {**judges, "mix": self.mix, "validation": self.data["summaries.validation"]}


@task(task_run_name="summarizer-{training}{suffix}")
def train_contrastive(
    context: Context, profile: Profile, model: Done, scores: Done, training: str, by: Validation, suffix: str = "", number: int = 1
) -> Done:
    """`contrastive`, or `positive-only`: the same without S-."""
    contrast: dict[str, Any] = asdict(profile.summarizer.contrast)
    if training == "positive-only":
        contrast |= {"negative_weight": 0.0, "edit_weight": 0.0, "own": 0}
    step, config, inputs = contrastive_step(profile, contrast, profile.seed + number - 1, model, scores, by)
    return once(context, f"summarizer-{training}{suffix}", step, config=config, inputs=inputs, served=_served(training))


def contrastive_step(
    profile: Profile, contrast: dict[str, Any], seed: int, model: Done, scores: Done, by: Validation
) -> tuple[str, dict[str, Any], dict[str, Done | tuple[str, str]]]:
    """The step that trains a model further, its config and its inputs: with evaluations on the way if there are to be some."""
    config = {"score": profile.summarizer.score, "contrast": contrast, "seed": seed}
    inputs = {"model": model, "scores": scores}
    if not profile.summarizer.validation.evaluations:
        return "factloop.steps.summarizer:train_contrastive", config, {**inputs}
    return "factloop.steps.validation:train_contrastive", config | by.config(profile), inputs | by.inputs(profile)


@task(task_run_name="validate-{model.name}")
def validate(context: Context, profile: Profile, model: Done, by: Validation) -> Done:
    return once(
        context, f"validate-{model.name}", "factloop.steps.validation:validate",
        config=by.config(profile) | {"seed": profile.seed}, inputs=by.inputs(profile) | {"model": model},
    )  # fmt: skip


@task(task_run_name="evaluate-{model.name}")
def evaluate(context: Context, profile: Profile, data: Data, model: Done, judges: Judges) -> Done:
    return once(
        context, f"evaluate-{model.name}", "factloop.steps.summaries:evaluate",
        config={
            **judge_settings(profile), "decoding": profile.summarizer.decoding.__dict__,
            "examples": profile.test_examples, "meteor": profile.meteor, "seed": profile.seed,
        },
        inputs={**judges, "model": model, "summaries": data["summaries.test"]},
    )  # fmt: skip
