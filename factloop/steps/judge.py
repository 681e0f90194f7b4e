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
from ..seq2seq import Seq2Seq
from ..settings import TrainingSettings
from ..statistics import auc_interval
from ..training import Progress
from ..world.errors import ERROR_TYPES, OVERLAP_FINDS, plant
from ..world.generate import Fact
from ..world.vocabulary import make_world
from .judging import judge_pairs


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
    each aggregate of QUALS and for each overlap feature.
    """
    documents = list(read_rows(inputs["summaries"]))[: config["examples"]]
    rows = list(planted(documents, config["world_seed"], config["errors_each"]))
    verdicts = judge_pairs(config, inputs, [(row["document"], row["summary"]) for row in rows], checkpoints, progress)
    for row, verdict in zip(rows, verdicts, strict=True):
        row |= verdict | {"scores": verdict["scores"] | overlap_features(row["document"], row["summary"])}
    write_rows(out / "examples.jsonl", rows)
    metrics: dict[str, Any] = {"no_evidence": float(np.mean([row["scores"]["quals"] is None for row in rows]))}
    for name in rows[0]["scores"]:
        # A summary without evidence counts as the worst: nothing in it could be asked about.
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
