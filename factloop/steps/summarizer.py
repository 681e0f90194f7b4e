"""The summariser: likelihood, candidates, contrast. Its judging is a module of its own, so that a change there trains nothing anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..contrast import Judged, Onlooker, Stop, check, edits, look, select, train_contrast
from ..contrast.mix import scored_rows
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


def train_contrastive(
    config: dict[str, Any],
    inputs: dict[str, Path],
    out: Path,
    checkpoints: Path,
    progress: Progress,
    watch: Callable[[Seq2Seq, int], Onlooker] | None = None,
) -> dict[str, Any]:
    """Inputs `model` (MLE, or that of the round before) and `scores`.

    `watch` gives for the model and the number of steps what looks on; where that stops the training, the metric `good_step` says
    of which step the model is.
    """
    training = TrainingSettings(**config["contrast"]["training"])
    settings = ContrastSettings(**{**config["contrast"], "training": training})
    model = Seq2Seq.load(inputs["model"], config["device"])
    rows = scored_rows(config["score"], read_rows(inputs["scores"] / "scores.jsonl"))
    scores = [row["summary_score"] for row in rows], [row["candidate_scores"] for row in rows]
    chosen = select(*scores, settings.positive_share, settings.negative_share, settings.intersect)
    last = scores[0][chosen.positives[-1]]
    positives = [([rows[i]["document"]], [rows[i]["summary"]]) for i in chosen.positives]
    positives += [([row["document"]], [text]) for row in rows for text in _own(row, last, settings.own)]
    negatives = [([rows[i]["document"]], [rows[i]["candidates"][j]]) for i, j in chosen.negatives]
    judged = rows if settings.edit_weight else []
    pairs = [([row["document"]], [right], [wrong]) for row in judged for right, wrong in _edits(row, last - settings.doubt)]
    documents = [[row["document"]] for row in rows]
    before = look(model, documents, progress.name)
    onlooker = watch(model, training.over(len(positives)).steps) if watch else None
    stopped = {}
    try:
        train_contrast(model, positives, negatives, pairs, settings, config["seed"], checkpoints, progress, onlooker or (lambda step: None))
    except Stop:
        assert onlooker
        stopped["good_step"] = onlooker.restore()
    after = look(model, documents, progress.name)
    check(before, after, progress.name)
    model.save(out / "model")
    sets = {"positives": len(positives), "negatives": len(negatives), "edits": len(pairs)}
    return sets | stopped | {"outputs/distinct": after.distinct, "outputs/repeating": after.repeating}


def _own(row: dict[str, Any], least: float, most: int) -> list[str]:
    """The candidates that score highest, at least `least`."""
    ranked = sorted((-score, text) for text, score in _scored(row) if score is not None and score >= least)
    return list(dict.fromkeys(text for _, text in ranked))[:most]


def _edits(row: dict[str, Any], least: float) -> list[tuple[str, str]]:
    scored = [(row["summary"], row["summary_score"]), *_scored(row)]
    return edits([Judged(text, score, answers) for (text, score), answers in zip(scored, row["answers"], strict=True)], least)


def _scored(row: dict[str, Any]) -> list[tuple[str, float | None]]:
    return list(zip(row["candidates"], row["candidate_scores"], strict=True))
