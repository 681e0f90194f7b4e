"""Train a QAGen model, and measure QUALS with it on errors planted in the world."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora.rows import read_rows, write_rows
from ..judges.overlap import overlap_features
from ..judges.qagen import train_qagen
from ..judges.quals import quals
from ..seq2seq import Seq2Seq
from ..settings import QualsSettings, TrainingSettings
from ..statistics import auc_interval
from ..training import Progress
from ..world.errors import ERROR_TYPES, OVERLAP_FINDS, plant
from ..world.generate import Fact
from ..world.vocabulary import make_world


def train(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` and `questions`."""
    model = Seq2Seq.load(inputs["base"], config["device"])
    passages = list(read_rows(inputs["questions"]))
    train_qagen(model, passages, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"passages": len(passages)}


def planted(documents: list[dict[str, Any]], seed: int, each: int) -> Iterator[dict[str, Any]]:
    """Every clean summary, and up to `each` summaries with an error of each type."""
    world = make_world(seed)
    for row in documents:
        yield {"document": row["document"], "summary": row["summary"], "error": None}
    for kind in ERROR_TYPES:
        found = 0
        for row in documents:
            facts = [[Fact(**fact) for fact in row[name]] for name in ("summary_facts", "facts")]
            wrong = plant(row["summary"], facts[0], facts[1], kind, world, random.Random(f"{kind} {row['id']}"))
            if wrong is not None and found < each:
                found += 1
                yield {"document": row["document"], "summary": wrong, "error": kind}


def examine(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `qagen` and `summaries` (test documents of the world, clean summaries).

    AUC of telling clean from planted, over the types that overlap cannot find and by type, for
    QUALS (mean and worst pair) and for each overlap feature.
    """
    model = Seq2Seq.load(inputs["qagen"], config["device"])
    documents = list(read_rows(inputs["summaries"]))[: config["examples"]]
    rows = list(planted(documents, config["world_seed"], config["errors_each"]))
    verdicts = quals(
        model, [row["document"] for row in rows], [row["summary"] for row in rows], QualsSettings(**config["quals"]), progress.name
    )
    for row, verdict in zip(rows, verdicts, strict=True):
        row["scores"] = {"quals": verdict.mean, "quals_worst": verdict.worst} | overlap_features(row["document"], row["summary"])
        row["evidence"] = [asdict(pair) for pair in verdict.pairs]
    write_rows(out / "examples.jsonl", rows)
    return {"no_evidence": float(np.mean([not verdict.pairs for verdict in verdicts]))} | aucs(rows)


def aucs(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each score of the rows: the AUC over the types that overlap cannot find, and by type."""
    metrics: dict[str, Any] = {}
    for name in rows[0]["scores"]:
        # A summary without a score counts as the worst: nothing in it could be judged.
        scores = {
            kind: [-np.inf if row["scores"][name] is None else row["scores"][name] for row in rows if row["error"] == kind]
            for kind in (None, *ERROR_TYPES)
        }
        hard = [score for kind in ERROR_TYPES if kind != OVERLAP_FINDS for score in scores[kind]]
        if hard:
            metrics[f"judge/{name}/auc"] = asdict(auc_interval(scores[None], hard))
        for kind in ERROR_TYPES:
            if scores[kind]:
                metrics[f"judge/{name}/auc/{kind.replace(' ', '_')}"] = asdict(auc_interval(scores[None], scores[kind]))
    return metrics
