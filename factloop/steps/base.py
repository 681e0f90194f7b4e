"""Make the base of a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..base import denoise, from_checkpoint, from_encoder, from_scratch
from ..corpora.rows import read_rows
from ..settings import Network, TrainingSettings, Window
from ..training import Progress


def train(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `summaries`, `questions`, `tables`: the text of the profile."""
    documents = list(read_rows(inputs["summaries"]))
    passages = list(read_rows(inputs["questions"]))
    tables = list(read_rows(inputs["tables"]))
    start, window = config["start"], Window(**config["start"]["window"])
    if start["kind"] == "scratch":
        asked = [item["question"] for row in passages for item in row["questions"]]
        cells = [" ".join([row["question"], row["answer"], *row["header"]]) for row in tables]
        # A few thousand texts settle the vocabulary; more only cost time.
        sample = [row[name] for row in documents[:3000] for name in ("document", "summary")]
        base = from_scratch(sample + asked[:3000] + cells[:1000], Network(**start["network"]), window, config["seed"])
    elif start["kind"] == "encoder":
        base = from_encoder(start["checkpoint"], start["decoder_layers"], window, config["seed"])
    else:
        base = from_checkpoint(start["checkpoint"], start["revision"], window, config["seed"])
    base.model.to(config["device"])
    if config["denoising"]:
        texts = [row["document"] for row in documents] + [row["summary"] for row in documents]
        texts += [row["passage"] for row in passages] if start["kind"] == "encoder" else []
        denoise(base, texts, TrainingSettings(**config["denoising"]), config["seed"], checkpoints, progress)
    base.save(out / "model")
    return {"parameters": sum(parameter.numel() for parameter in base.model.parameters())}
