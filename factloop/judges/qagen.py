"""QAGen: one model that writes a question and its answer about a passage (Nan et al. 2021); given the question, it answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from ..decoding import score_targets
from ..seq2seq import SEP, Seq2Seq
from ..settings import TrainingSettings
from ..training import Progress, fit, likelihood

QUESTIONS = 4  # of one passage in a batch: more share its encoder states, fewer are more varied


def train_qagen(
    seq2seq: Seq2Seq, passages: Sequence[dict[str, Any]], settings: TrainingSettings, seed: int, checkpoints: Path, progress: Progress
) -> list[dict[str, float]]:
    """Train `seq2seq` in place on rows with `passage` and `questions` (question, answer).

    The target is question, separator, answer. A batch counts passages; each is encoded once
    and `QUESTIONS` of its questions, drawn anew each time, are learned against its states.
    """
    sources = seq2seq.sources([[row["passage"]] for row in passages])
    targets = [seq2seq.targets([[item["question"], SEP, item["answer"]] for item in row["questions"]]) for row in passages]

    def loss(batch: list[tuple[list[int], list[list[int]]]]) -> dict[str, Tensor]:
        batch = [(ids, [group[i] for i in torch.randperm(len(group))[:QUESTIONS]]) for ids, group in batch]
        source = seq2seq.pad_batch([ids for ids, _ in batch])
        owner = torch.tensor([index for index, (_, group) in enumerate(batch) for _ in group], device=source.device)
        target = seq2seq.pad_batch([ids for _, group in batch for ids in group])
        start = torch.full_like(target[:, :1], seq2seq.start)
        logits = seq2seq.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=seq2seq.encode(source)[owner]),
            attention_mask=(source != seq2seq.pad).long()[owner],
            decoder_input_ids=torch.cat([start, target[:, :-1]], 1),
            use_cache=False,
        ).logits
        return {"loss": likelihood(logits, target, seq2seq.pad, settings.label_smoothing)}

    examples = list(zip(sources, targets, strict=True))
    return fit(seq2seq.model, loss, examples, [len(ids) for ids in sources], settings, seed, checkpoints, progress)


def answer_chances(
    seq2seq: Seq2Seq, passages: Sequence[str], questions: Sequence[str], answers: Sequence[Sequence[str]], batch_size: int = 64
) -> list[list[float]]:
    """The probability of each answer to each passage's question, end token included; 0 where the target window has no room for it."""
    separator = seq2seq.special(SEP)
    targets = [seq2seq.targets([[question, SEP, answer] for answer in group]) for question, group in zip(questions, answers, strict=True)]
    sources = seq2seq.sources([[passage] for passage in passages])
    chances: list[list[float]] = []
    for begin in range(0, len(sources), batch_size):
        part = targets[begin : begin + batch_size]
        found = score_targets(seq2seq, sources[begin : begin + batch_size], part)
        for group, likelihoods in zip(part, found, strict=True):
            cuts = [ids.index(separator) + 1 if separator in ids else None for ids in group]
            given = zip(group, cuts, likelihoods, strict=True)
            chances.append(
                [0.0 if cut is None or len(ids) == seq2seq.window.target else math.exp(sum(one.tokens[cut:])) for ids, cut, one in given]
            )
    return chances
