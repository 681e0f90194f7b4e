"""Table question answering: GenTaP pretraining, fine-tuning, and the same without pretraining."""

from __future__ import annotations

import json
from pathlib import Path

from mlflow.tracking import MlflowClient
from prefect import task

from .contracts import check_apart
from .data import Data
from .memo import Context, Done, once
from .profiles import Profile
from .serving import Served

HELD = "contract"  # tag: the contract that a run's files were found to hold, so that a rerun need not look again
TABLE = {"title": "Coach list", "header": ["Coach", "Side", "Matches"], "rows": [["Mara Velling", "the Hawks", "31"]]}
TABLE_EXAMPLE = {"question": "Who managed the Hawks?", "table": json.dumps(TABLE)}
SENTENCE_EXAMPLE = {"sentence": "Mara Velling coached the Hawks.", "entries": json.dumps(["Mara Velling", "the Hawks"])}


@task(task_run_name="table-question-generator")
def train_question_generator(context: Context, profile: Profile, data: Data, base: Done) -> Done:
    return once(
        context, "table-question-generator", "factloop.steps.tables:train_question_generator",
        config={"training": profile.tables.question_generator.__dict__, "seed": profile.seed},
        inputs={"base": base, "questions": data["questions.train"]},
        served=Served("table-question-generator", SENTENCE_EXAMPLE, ("question",), {}, ("champion",)),
    )  # fmt: skip


@task(task_run_name="written-questions")
def write_questions(context: Context, profile: Profile, data: Data, generator: Done, qagen: Done) -> Done:
    """Questions for the mined sentences."""
    return once(
        context, "written-questions", "factloop.steps.tables:write_questions",
        config={"seed": profile.seed, "check": profile.tables.check_questions, "answered": profile.tables.answered},
        inputs={"generator": generator, "mined": data["mined"], "qagen": qagen},
    )  # fmt: skip


@task(task_run_name="check-written-questions")
def check_questions(profile: Profile, written: Done) -> None:
    """Hold them to their contract, before anything trains on them."""
    client = MlflowClient()
    if HELD not in client.get_run(written.run_id).data.tags:
        check_apart("written_questions", Path(written.path) / "questions.jsonl", profile.name)
        client.set_tag(written.run_id, HELD, "written_questions")


@task(task_run_name="table-qa-pretraining")
def pretrain(context: Context, profile: Profile, data: Data, base: Done, written: Done) -> Done:
    return once(
        context, "table-qa-pretraining", "factloop.steps.tables:pretrain",
        config={"training": profile.tables.pretraining.__dict__, "seed": profile.seed},
        inputs={"base": base, "long": written.file("questions.jsonl"), "short": data["short_questions"]},
    )  # fmt: skip


@task(task_run_name="table-qa{suffix}")
def fine_tune(context: Context, profile: Profile, data: Data, start: dict[str, Done], suffix: str = "") -> Done:
    """From the pretrained model, or the base; the same questions, steps and seed either way."""
    return once(
        context, f"table-qa{suffix}", "factloop.steps.tables:fine_tune",
        config={
            "training": profile.tables.fine_tuning.__dict__, "seed": profile.seed,
            "examples": profile.tables.fine_tuning_examples, "short_answers": profile.data.short_answers,
        },
        inputs=start | {"questions": data["table_questions.train"], "validation": data["table_questions.validation"]},
        served=Served("table-qa", TABLE_EXAMPLE, ("long", "short", "cells", "confidence", "held"), {"start": next(iter(start))}),
    )  # fmt: skip


@task(task_run_name="evaluate-{model.name}")
def evaluate(context: Context, profile: Profile, data: Data, model: Done) -> Done:
    return once(
        context, f"evaluate-{model.name}", "factloop.steps.tables:evaluate",
        config={"examples": profile.test_examples, "meteor": profile.meteor, "seed": profile.seed},
        inputs={"model": model, "questions": data["table_questions.test"]},
    )  # fmt: skip
