"""Train QAGS's three models, and measure QAGS with them on errors planted in the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora.rows import Row, read_rows, write_rows
from ..judges.answer_extractor import new_extractor, train_answer_extractor
from ..judges.overlap import overlap_features
from ..judges.qags import QagsModels, qags
from ..judges.question_answerer import new_answerer, train_question_answerer
from ..judges.question_generator import train_question_generator
from ..reader import Reader
from ..seq2seq import Seq2Seq
from ..settings import QagsSettings, QuestionAnswererSettings, TrainingSettings
from ..statistics import auc_interval
from ..training import Progress
from ..world.errors import ERROR_TYPES, OVERLAP_FINDS
from .judge import planted


def train_extractor(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` and `questions`."""
    model = new_extractor(Seq2Seq.load(inputs["base"], config["device"]), config["seed"])
    passages = list(read_rows(inputs["questions"]))
    train_answer_extractor(model, passages, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"passages": len(passages)}


def train_generator(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` and `questions`."""
    model = Seq2Seq.load(inputs["base"], config["device"])
    passages = list(read_rows(inputs["questions"]))
    train_question_generator(model, passages, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.save(out / "model")
    asked = [item["question"] for row in passages for item in row["questions"]]
    return {"passages": len(passages), "question_mark": float(np.mean(["?" in question for question in asked]))}


def train_answerer(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` (it may be a trained question generator, from which an answerer learns sooner) and `questions`."""
    model = new_answerer(Seq2Seq.load(inputs["base"], config["device"]), config["seed"])
    passages = list(read_rows(inputs["questions"]))
    settings = QuestionAnswererSettings(TrainingSettings(**config["training"]), config["unanswerable"])
    train_question_answerer(model, passages, settings, config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"passages": len(passages)}


def load_models(inputs: dict[str, Path], device: str) -> QagsModels:
    return QagsModels(
        Reader.load(inputs["answer-extractor"], device),
        Seq2Seq.load(inputs["question-generator"], device),
        Reader.load(inputs["question-answerer"], device),
    )


def examine(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `answer-extractor`, `question-generator`, `question-answerer` and `summaries` (test documents of the world).

    AUC of telling clean from planted, over the types that overlap cannot find and by type, for QAGS (mean and
    worst question) and for each overlap feature.
    """
    models = load_models(inputs, config["device"])
    documents = list(read_rows(inputs["summaries"]))[: config["examples"]]
    rows = list(planted(documents, config["world_seed"], config["errors_each"]))
    verdicts = qags(
        models, [row["document"] for row in rows], [row["summary"] for row in rows], QagsSettings(**config["qags"]), progress.name
    )
    for row, verdict in zip(rows, verdicts, strict=True):
        row["status"] = verdict.status
        row["scores"] = {"qags": verdict.mean, "qags_worst": verdict.worst} | overlap_features(row["document"], row["summary"])
        row["evidence"] = [asdict(question) | {"f1": question.f1} for question in verdict.questions]
    write_rows(out / "examples.jsonl", rows)
    questions = [float(len(verdict.questions)) for verdict in verdicts]
    return {"no_evidence": float(np.mean([not count for count in questions])), "questions": float(np.mean(questions))} | aucs(rows)


def aucs(rows: Sequence[Row]) -> dict[str, Any]:
    """Of each score of rows with `scores` and `error`: one AUC over the types that overlap cannot find, and one by type."""
    metrics: dict[str, Any] = {}
    for name in rows[0]["scores"]:
        # A summary without evidence counts as the worst: nothing in it could be asked about.
        scores = {
            kind: [-np.inf if row["scores"][name] is None else row["scores"][name] for row in rows if row["error"] == kind]
            for kind in (None, *ERROR_TYPES)
        }
        hard = [score for kind in ERROR_TYPES if kind != OVERLAP_FINDS for score in scores[kind]]
        for kind, wrong in {"": hard, **{f"/{kind.replace(' ', '_')}": scores[kind] for kind in ERROR_TYPES}}.items():
            if wrong:
                metrics[f"judge/{name}/auc{kind}"] = asdict(auc_interval(scores[None], wrong))
    return metrics
