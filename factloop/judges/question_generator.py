"""A question for a given answer in a text: the second of QAGS's three models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..seq2seq import SEP, Seq2Seq
from ..settings import TrainingSettings
from ..training import Progress, fit, likelihood
from .spans import cut, tokenise

QUESTIONS = 2  # of one passage in a batch: each has a source of its own, since the source names the answer


def sources(seq2seq: Seq2Seq, asked: Sequence[tuple[str, str]]) -> list[list[int]]:
    """Source ids of each (text, answer): the text, separator, the answer, end.

    A text that leaves no room for its answer is cut to a stretch about the first place where the answer stands.
    """
    texts = dict.fromkeys(text for text, _ in asked)
    coded = dict(zip(texts, tokenise(seq2seq, list(texts)), strict=True))
    answers = seq2seq.targets([[SEP, answer] for _, answer in asked])
    result = []
    for (text, answer), tail in zip(asked, answers, strict=True):
        window = coded[text]
        room = max(1, seq2seq.window.source - len(tail))
        if len(window.offsets) > room:
            middle = next((place[0] for place in window.find(answer)), 0)
            start = max(0, min(middle - room // 2, len(window.offsets) - room))
            window = cut(window, start, start + room)
        result.append([*window.ids[:-1], *tail])
    return result


def train_question_generator(
    seq2seq: Seq2Seq, passages: Sequence[dict[str, Any]], settings: TrainingSettings, seed: int, checkpoints: Path, progress: Progress
) -> list[dict[str, float]]:
    """Train in place on rows with `passage` and `questions` (question, answer): text, separator, answer -> question.

    A batch counts passages, and learns `QUESTIONS` questions of each, drawn anew each time.
    """

    def loss(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        drawn = [(row, row["questions"][i]) for row in batch for i in torch.randperm(len(row["questions"]))[:QUESTIONS].tolist()]
        source = seq2seq.pad_batch(sources(seq2seq, [(row["passage"], item["answer"]) for row, item in drawn]))
        target = seq2seq.pad_batch(seq2seq.targets([[item["question"]] for _, item in drawn]))
        return {"loss": likelihood(seq2seq.logits(source, target), target, seq2seq.pad, settings.label_smoothing)}

    lengths = [len(row["passage"]) for row in passages]
    return fit(seq2seq.model, loss, passages, lengths, settings, seed, checkpoints, progress)
