"""Grids of methods: one YAML file, an arm for each way to train the MLE model further."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from .evaluations import JUDGES
from .profiles import Count, Profile, ProfileError, Strict, load_profile

NAME = r"^[a-z0-9][a-z0-9-]*$"  # it becomes part of metric and run names
OPEN = ("score", "contrast.")  # of `summarizer`: all else is shared by the arms


class Grid(Strict):
    reference: str
    """The arm that all others are compared with."""
    steps: Count
    """Updates of every arm that trains."""
    metrics: Annotated[list[str], Field(min_length=1)]
    """Scores of test examples, in the order of the table."""
    arms: Annotated[dict[Annotated[str, Field(pattern=NAME)], dict[str, Any] | None], Field(min_length=2)]
    """Fields of `summarizer` that an arm sets; null is the MLE model as it is."""

    @property
    def judged(self) -> bool:
        """Whether the gate judges are asked: a metric is of one of them."""
        return any(metric.partition("_")[0] in JUDGES for metric in self.metrics)


def load_grid(path: Path, metrics: list[str] | None = None) -> Grid:
    """Read a grid, with `metrics` in place of its own where given; ProfileError says what is wrong."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        grid = Grid.model_validate(found | {"metrics": metrics} if metrics and isinstance(found, dict) else found)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: not YAML ({error})") from None
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']} (got {item['input']!r:.80})" for item in error.errors()]
        raise ProfileError(f"{path} is not a grid:\n" + "\n".join(lines)) from None
    if grid.reference not in grid.arms:
        raise ProfileError(f"{path}: reference {grid.reference!r} is none of the arms {', '.join(grid.arms)}")
    for arm, sets in grid.arms.items():
        for field in sets or {}:
            if not field.startswith(OPEN) or field.startswith(("contrast.training.steps", "contrast.training.epochs")):
                raise ProfileError(
                    f"{path}: arm {arm!r} sets {field!r}; an arm may set score and contrast.…, and `steps` is the same for all"
                )
    return grid


def arm_profiles(profile: Profile, overrides: list[str], grid: Grid) -> dict[str, Profile | None]:
    """The profile of each arm, with the grid's steps; None for the MLE model as it is."""
    if profile.summarizer.rounds > 1:
        raise ProfileError(
            f"an ablation trains each arm one round, and summarizer.rounds is {profile.summarizer.rounds}: --set summarizer.rounds=1"
        )
    steps = [f"summarizer.contrast.training.steps={grid.steps}", "summarizer.contrast.training.epochs=0"]
    found: dict[str, Profile | None] = {}
    for arm, sets in grid.arms.items():
        own = [f"summarizer.{field}={json.dumps(value)}" for field, value in (sets or {}).items()]
        found[arm] = None if sets is None else load_profile(profile.name, [*overrides, *steps, *own])
    return found
