"""QAGen: one model that writes a question and its answer about a passage (Nan et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

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
