"""The summariser: maximum likelihood, then contrast on candidates that the training judge scored."""

from __future__ import annotations

from typing import Any

from prefect import task

from .data import Data
from .judges import Judges, judge_settings
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


@task(task_run_name="candidates")
def sample_candidates(context: Context, profile: Profile, data: Data, model: Done) -> Done:
    return once(
        context, "candidates", "factloop.steps.summarizer:sample_candidates",
        config=profile.summarizer.candidates.model_dump() | {"seed": profile.seed},
        inputs={"model": model, "summaries": data["summaries.train"]},
    )  # fmt: skip


@task(task_run_name="scores")
def score_candidates(context: Context, profile: Profile, candidates: Done, judges: Judges) -> Done:
    return once(
        context, "scores", "factloop.steps.summaries:score_candidates",
        config=judge_settings(profile) | {"score": profile.summarizer.score, "seed": profile.seed},
        inputs={**judges, "candidates": candidates},
    )  # fmt: skip


@task(task_run_name="summarizer-{training}")
def train_contrastive(context: Context, profile: Profile, model: Done, scores: Done, training: str) -> Done:
    """`contrastive`, or `positive-only`: the same without S-."""
    from dataclasses import asdict

    contrast: dict[str, Any] = asdict(profile.summarizer.contrast)
    if training == "positive-only":
        contrast |= {"negative_weight": 0.0, "edit_weight": 0.0, "own": 0}
    return once(
        context, f"summarizer-{training}", "factloop.steps.summarizer:train_contrastive",
        config={"contrast": contrast, "seed": profile.seed},
        inputs={"model": model, "scores": scores},
        served=_served(training),
    )  # fmt: skip


@task(task_run_name="evaluate-{model.name}")
def evaluate(context: Context, profile: Profile, data: Data, model: Done, judges: Judges) -> Done:
    return once(
        context, f"evaluate-{model.name}", "factloop.steps.summaries:evaluate",
        config={
            **judge_settings(profile), "decoding": profile.summarizer.decoding.__dict__,
            "examples": profile.test_examples, "seed": profile.seed,
        },
        inputs={**judges, "model": model, "summaries": data["summaries.test"]},
    )  # fmt: skip
