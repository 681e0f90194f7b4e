"""The limits of `mlflow/gates.yaml`, checked before anything is trained for them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from .environment import ROOT
from .profiles import Profile, ProfileError, Strict, WorldData, profile_names

GATES = ROOT / "mlflow" / "gates.yaml"
GATED = ("summarizer", "table-qa")
LIKENESS = ("rouge1", "rouge2", "rougeL", "bleu", "meteor")
QUALS = ("quals", "quals_low", "quals_worst", "quals_answer", "quals_answer_worst")
KNOWN_TRUTH = ("hallucination_rate", "fact_recall")
ALONE = {"summarizer": ("no_evidence", "status/quals/scored"), "table-qa": ("bleu_lowercase",)}
"""What is measured of a model and never compared by example."""


class Limit(Strict):
    least: float | None = None
    most: float | None = None

    @model_validator(mode="after")
    def _some(self) -> Limit:
        if self.least is None and self.most is None:
            raise ValueError("a limit needs `least` or `most`")
        return self


class Gate(Strict):
    """When a candidate becomes champion."""

    absolute: dict[str, Limit] = {}
    not_worse_by: dict[str, Annotated[float, Field(ge=0)]] = {}
    improve: str


class GateError(ProfileError):
    """Limits that cannot be used as written."""


def compared(profile: Profile, model: str) -> tuple[str, ...]:
    """The metrics of a gated model that two versions are compared by, on a profile."""
    likeness = tuple(name for name in LIKENESS if name != "meteor" or profile.meteor)
    if model == "table-qa":
        return likeness
    judged = (*QUALS, *(["qags"] if profile.judges.qags_models else []), *(["factcc"] if profile.judges.factcc_model else []))
    return (*likeness, *judged, *(KNOWN_TRUTH if isinstance(profile.data.source, WorldData) else ()))


def limits(profile: Profile, model: str, path: Path = GATES) -> dict[str, Any]:
    """The gate of a profile's model, else that of `default`; GateError says what is wrong, in any part of the file."""
    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
        gates = TypeAdapter(dict[str, dict[str, Gate]]).validate_python(declared)
    except yaml.YAMLError as error:
        raise GateError(f"{path.name}: not YAML ({error})") from None
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']} (got {item['input']!r:.80})" for item in error.errors()]
        raise GateError(f"{path.name} does not say when to promote:\n" + "\n".join(lines)) from None
    for name, models in gates.items():
        _known(path, "profile", name, ["default", *profile_names()])
        for other in models:
            _known(path, f"{name}: model", other, GATED)
    gate = gates.get(profile.name, {}).get(model) or gates.get("default", {}).get(model)
    if gate is None:
        raise GateError(f"{path.name}: neither {profile.name} nor default has limits for {model}")
    where = f"{profile.name}, {model}: metric"
    for metric in (*gate.not_worse_by, gate.improve):
        _known(path, where, metric, compared(profile, model))
    for metric in gate.absolute:
        if not metric.startswith("statements/"):
            _known(path, where, metric, (*compared(profile, model), *ALONE[model]))
    return gate.model_dump(exclude_none=True)


def check_gates(profile: Profile) -> None:
    """Raise GateError now for what the gate would stumble over at the end of a run."""
    for model in GATED:
        limits(profile, model)


def _known(path: Path, what: str, name: str, names: tuple[str, ...] | list[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        raise GateError(
            f"{path.name}: {what} {name!r} is not known{f'; did you mean {near[0]!r}?' if near else ''}; known: {', '.join(names)}"
        )
