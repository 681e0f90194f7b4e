"""Train QAGS's three models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..judges.answer_extractor import new_extractor, train_answer_extractor
from ..judges.qags import QagsModels
from ..judges.question_answerer import new_answerer, train_question_answerer
from ..judges.question_generator import train_question_generator
from ..reader import Reader
from ..seq2seq import Seq2Seq
from ..settings import QuestionAnswererSettings, TrainingSettings
from ..training import Progress
from .qagen import read_passages


def train_extractor(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` and `questions`."""
    model = new_extractor(Seq2Seq.load(inputs["base"], config["device"]), config["seed"])
    passages = read_passages(config, inputs)
    train_answer_extractor(model, passages, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"passages": len(passages)}


def train_generator(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` and `questions`."""
    model = Seq2Seq.load(inputs["base"], config["device"])
    passages = read_passages(config, inputs)
    train_question_generator(model, passages, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.save(out / "model")
    asked = [item["question"] for row in passages for item in row["questions"]]
    return {"passages": len(passages), "question_mark": float(np.mean(["?" in question for question in asked]))}


def train_answerer(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base` (it may be a trained question generator, from which an answerer learns sooner) and `questions`."""
    model = new_answerer(Seq2Seq.load(inputs["base"], config["device"]), config["seed"])
    passages = read_passages(config, inputs)
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
