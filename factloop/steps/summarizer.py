"""The summariser: likelihood, candidates, contrast. Its judging is a module of its own, so that a change there trains nothing anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..contrast import select, train_contrast
from ..corpora.rows import read_rows, write_rows
from ..decoding import sample
from ..seq2seq import Seq2Seq
from ..settings import ContrastSettings, TrainingSettings
from ..training import Progress
from ..training.pairs import train_pairs


def train_likelihood(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` and `summaries`."""
    model = Seq2Seq.load(inputs["base"], config["device"])
    pairs = [([row["document"]], [row["summary"]]) for row in read_rows(inputs["summaries"])]
    train_pairs(model, pairs, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"documents": len(pairs)}


def sample_candidates(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `model` and `summaries`: samples for the first training documents."""
    model = Seq2Seq.load(inputs["model"], config["device"])
    rows = list(read_rows(inputs["summaries"]))[: config["documents"]]
    lengths = (config["min_length"], config["max_length"])
    texts = [[row["document"]] for row in rows]
    found = sample(model, texts, config["per_document"], config["top_k"], config["seed"], progress.name, lengths)
    write_rows(out / "candidates.jsonl", (row | {"candidates": texts} for row, texts in zip(rows, found, strict=True)))
    distinct = [len(set(texts)) for texts in found]
    return {"documents": len(rows), "distinct_per_document": float(np.mean(distinct))}


def train_contrastive(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `model` (MLE) and `scores`."""
    training = TrainingSettings(**config["contrast"]["training"])
    settings = ContrastSettings(**{**config["contrast"], "training": training})
    model = Seq2Seq.load(inputs["model"], config["device"])
    rows = list(read_rows(inputs["scores"] / "scores.jsonl"))
    scores = [row["summary_score"] for row in rows], [row["candidate_scores"] for row in rows]
    chosen = select(*scores, settings.positive_share, settings.negative_share, settings.intersect)
    positives = [([rows[i]["document"]], [rows[i]["summary"]]) for i in chosen.positives]
    negatives = [([rows[i]["document"]], [rows[i]["candidates"][j]]) for i, j in chosen.negatives]
    train_contrast(model, positives, negatives, settings, config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"positives": len(positives), "negatives": len(negatives)}
