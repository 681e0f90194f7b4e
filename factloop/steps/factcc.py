"""Train a FactCC model on claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..corpora.rows import read_rows
from ..judges.factcc import new_factcc, train_factcc
from ..seq2seq import Seq2Seq
from ..settings import TrainingSettings
from ..training import Progress


def train(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` and `claims`."""
    reader = new_factcc(Seq2Seq.load(inputs["base"], config["device"]), config["seed"])
    documents = list(read_rows(inputs["claims"]))
    train_factcc(reader, documents, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    reader.save(out / "model")
    return {"claims": sum(len(row["claims"]) for row in documents)}
