"""Train a QAGen model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..corpora.rows import read_rows
from ..judges.passages import with_short
from ..judges.qagen import train_qagen
from ..seq2seq import Seq2Seq
from ..settings import TrainingSettings
from ..training import Progress


def read_passages(config: dict[str, Any], inputs: dict[str, Path]) -> list[dict[str, Any]]:
    """Reading comprehension of the input `questions`, with short passages where the profile asks for them."""
    return with_short(list(read_rows(inputs["questions"])), config["short_passages"], config["seed"])


def train(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` and `questions`."""
    model = Seq2Seq.load(inputs["base"], config["device"])
    passages = read_passages(config, inputs)
    train_qagen(model, passages, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"passages": len(passages)}
