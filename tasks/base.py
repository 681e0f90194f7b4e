"""The base of a profile."""

from __future__ import annotations

from prefect import task

from .data import Data
from .memo import Context, Done, once
from .profiles import Profile
from .serving import Served

EXAMPLE = "Mara Velling wrote <mask> in 1984."


@task(task_run_name="base")
def train_base(context: Context, profile: Profile, data: Data) -> Done:
    from factloop.steps import base

    return once(
        context, "base", base.train,
        config=profile.base.model_dump() | {"seed": profile.seed},
        inputs={"summaries": data["summaries.train"], "questions": data["questions.train"], "tables": data["table_questions.train"]},
        served=Served("base", {"text": EXAMPLE}, ("text",), {}, ("champion",)),
    )  # fmt: skip
