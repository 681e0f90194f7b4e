"""The base of a profile."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from factloop.pretrained import CheckpointMissing, locate

from .data import Data
from .keys import digest, folder_digests
from .memo import Context, Done, once
from .profiles import Profile, ProfileError
from .serving import Served

EXAMPLE = "Mara Velling wrote <mask> in 1984."


@task(task_run_name="base")
def train_base(context: Context, profile: Profile, data: Data) -> Done:
    try:
        start = Path(locate(getattr(profile.base.start, "checkpoint", "")))
        weights = {"checkpoint": digest(folder_digests(start))} if start.name and start.is_dir() else {}  # on a hub its revision tells
        return once(
            context, "base", "factloop.steps.base:train",
            config=profile.base.model_dump() | weights | {"seed": profile.seed},
            inputs={"summaries": data["summaries.train"], "questions": data["questions.train"], "tables": data["table_questions.train"]},
            served=Served("base", {"text": EXAMPLE}, ("text",), {}, ("champion",)),
        )  # fmt: skip
    except CheckpointMissing as error:
        raise ProfileError(f"profile {profile.name}: {error}") from None
