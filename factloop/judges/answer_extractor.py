"""Which spans of a text could be answers: the first of QAGS's three models.

Each token is tagged as beginning, inside or outside an answer (Ramshaw and Marcus 1995), learned from
all answers of a passage at once. The published QAGS takes spaCy's entities and noun chunks; `noun_phrases`
does so, where spaCy is installed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..reader import Reader
from ..seq2seq import Seq2Seq
from ..settings import TrainingSettings
from ..training import Progress, fit
from .spans import TextWindow, one_piece

OUTSIDE, BEGIN, INSIDE = range(3)
SPACY_MODEL = "en_core_web_lg"  # as published


class NoSpacy(RuntimeError):
    """spaCy, or its model that a setting names, is not installed."""


@dataclass(frozen=True)
class Candidate:
    text: str
    probability: float
    """Geometric mean of the probabilities of its tags."""


def new_extractor(base: Seq2Seq, seed: int) -> Reader:
    return Reader.from_base(base, {"tags": 3}, seed)


@torch.inference_mode()
def extract_answers(reader: Reader, texts: Sequence[TextWindow], floor: float, longest: int) -> list[list[Candidate]]:
    """Spans of each text, distinct, likeliest first, of at least probability `floor` and at most `longest` tokens.

    A span begins where "begin" has at least `floor` and goes on as long as "inside" is likeliest. A span
    whose probability is not a number is given as it is, first.
    """
    seq2seq = reader.seq2seq
    shares = reader(seq2seq.pad_batch([window.ids for window in texts]))["tags"].float().softmax(-1).tolist()
    return [_spans(window, line, floor, longest) for window, line in zip(texts, shares, strict=True)]


def _spans(window: TextWindow, shares: list[list[float]], floor: float, longest: int) -> list[Candidate]:
    found: dict[str, float] = {}
    count = len(window.offsets)
    for first in range(count):
        product, last = shares[first][BEGIN], first
        if product < floor:
            continue
        while last + 1 < min(count, first + longest) and shares[last + 1][INSIDE] == max(shares[last + 1]):
            last += 1
            product *= shares[last][INSIDE]
        text = window.span(first, last)
        probability = product ** (1 / (last - first + 1))
        if any(map(str.isalnum, text)) and not probability < floor:
            found[text] = max(found.get(text, 0.0), probability) if probability == probability else probability
    return [Candidate(*item) for item in sorted(found.items(), key=lambda item: (item[1] == item[1], -item[1]))]


@functools.lru_cache(maxsize=1)
def _pipeline(model: str) -> Any:
    try:
        import spacy

        return spacy.load(model)
    except (ImportError, OSError) as error:
        command = f"pip install spacy && python -m spacy download {model}"
        raise NoSpacy(f"answers by noun phrases need spaCy and its model {model} ({error}): {command}") from None


def noun_phrases(texts: Sequence[str], model: str = SPACY_MODEL) -> list[list[Candidate]]:
    """Entities and noun chunks of each text, distinct, in order, all of probability 1; NoSpacy where the model is not installed."""
    pipeline = _pipeline(model)
    found = [[span.text for spans in (text.ents, text.noun_chunks) for span in spans] for text in pipeline.pipe(texts)]
    return [[Candidate(text, 1.0) for text in dict.fromkeys(line)] for line in found]


def train_answer_extractor(
    reader: Reader, passages: Sequence[dict[str, Any]], settings: TrainingSettings, seed: int, checkpoints: Path, progress: Progress
) -> list[dict[str, float]]:
    """Train in place on rows with `passage` and `questions` (question, answer: words of the passage)."""
    seq2seq = reader.seq2seq

    def loss(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        read = one_piece(seq2seq, [row["passage"] for row in batch], seq2seq.window.source - 1)
        source = seq2seq.pad_batch([window.ids for window in read])
        tags = torch.full(source.shape, -100)
        for line, window, row in zip(tags, read, batch, strict=True):
            line[: len(window.offsets)] = OUTSIDE
            # Short answers last, so that one inside another keeps its tags.
            for answer in sorted({item["answer"] for item in row["questions"]}, key=lambda text: (-len(text), text)):
                for first, last in window.find(answer):
                    line[first : last + 1] = INSIDE
                    line[first] = BEGIN
        logits = reader(source)["tags"]
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1).float(), tags.flatten().to(logits.device))}

    lengths = [len(row["passage"]) for row in passages]
    return fit(reader.encoder, loss, passages, lengths, settings, seed, checkpoints, progress)
