"""Train a FactCC model on claims, and measure it on errors planted in the world."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..corpora.rows import read_rows, write_rows
from ..judges.factcc import HEADS, factcc, train_factcc
from ..judges.overlap import overlap_features
from ..reader import Reader
from ..seq2seq import Seq2Seq
from ..settings import FactccSettings, TrainingSettings
from ..training import Progress
from .judge import aucs, planted


def train(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` and `claims`."""
    reader = Reader.from_base(Seq2Seq.load(inputs["base"], config["device"]), HEADS, config["seed"])
    documents = list(read_rows(inputs["claims"]))
    train_factcc(reader, documents, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    reader.save(out / "model")
    return {"claims": sum(len(row["claims"]) for row in documents)}


def examine(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `factcc` and `summaries` (test documents of the world, clean summaries).

    AUC of telling clean from planted, over the types that overlap cannot find and by type, for
    FactCC (mean and worst sentence) and for each overlap feature.
    """
    reader = Reader.load(inputs["factcc"], config["device"])
    documents = list(read_rows(inputs["summaries"]))[: config["examples"]]
    rows = list(planted(documents, config["world_seed"], config["errors_each"]))
    verdicts = factcc(
        reader, [row["document"] for row in rows], [row["summary"] for row in rows], FactccSettings(**config["factcc"]), progress.name
    )
    for row, verdict in zip(rows, verdicts, strict=True):
        row["scores"] = {"factcc": verdict.mean, "factcc_worst": verdict.worst} | overlap_features(row["document"], row["summary"])
        row["evidence"] = [asdict(sentence) for sentence in verdict.sentences]
    write_rows(out / "examples.jsonl", rows)
    return aucs(rows)
