"""The contrastive loss: likelihood on S+, unlikelihood on S-, and right before wrong where an edit parts from its text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..seq2seq import Segments, Seq2Seq
from ..settings import ContrastSettings
from ..training import CannotTrain, Progress, TrainingDiverged, fit, likelihood
from ..training.pairs import Pair, size

Coded = tuple[list[int], list[int]]
Other = TypeVar("Other")
Edit = tuple[Segments, Segments, Segments]
"""Source, right text, wrong text."""


class Stop(Exception):
    """Ends a training where it is; it is no failure."""


class Onlooker(Protocol):
    """What sees a model in training at each entry of its curve."""

    def __call__(self, step: int) -> None:
        """May raise Stop."""

    def restore(self) -> int:
        """After it has: bring the weights of the last good step back; returns which. Raises TrainingDiverged where there is none."""


def unlikelihood(logits: Tensor, target: Tensor, pad: int) -> Tensor:
    """Mean of -log(1 - p(token)) over the target tokens that are not padding (Welleck et al. 2020)."""
    taken = logits.float().softmax(-1).gather(-1, target[..., None])[..., 0]
    return -(1 - taken).clamp_min(1e-20).log()[target != pad].mean()


@dataclass(frozen=True)
class Fork:
    """A wrong text up to where it parts from its right one."""

    source: list[int]
    target: list[int]
    """Token ids of the wrong text."""
    place: int
    """The first at which the two differ."""
    right: int
    """The token that the right text has there."""


def forks(seq2seq: Seq2Seq, pairs: Sequence[Edit]) -> list[Fork]:
    """Where each pair parts; a pair whose texts are the same to the window's end gives none."""
    coded = zip(
        seq2seq.sources([source for source, _, _ in pairs]),
        seq2seq.targets([right for _, right, _ in pairs]),
        seq2seq.targets([wrong for _, _, wrong in pairs]),
        strict=True,
    )
    found = []
    for source, right, wrong in coded:
        place = next((place for place, (one, other) in enumerate(zip(right, wrong, strict=False)) if one != other), None)
        if place is not None:
            found.append(Fork(source, wrong, place, right[place]))
    return found


def parted(seq2seq: Seq2Seq, ways: Sequence[Fork]) -> Tensor:
    """Mean of -log p(right) / (p(right) + p(wrong)) at the forks."""
    source = seq2seq.pad_batch([fork.source for fork in ways])
    target = seq2seq.pad_batch([fork.target for fork in ways])
    at = torch.arange(len(ways), device=source.device)
    place, right = (torch.tensor(numbers, device=source.device) for numbers in zip(*((f.place, f.right) for f in ways), strict=True))
    logits = seq2seq.logits(source, target)[at, place].float()
    return nn.functional.softplus(logits[at, target[at, place]] - logits[at, right]).mean()


def beside(positives: Sequence[Coded], others: Sequence[Other], key: Callable[[Other], tuple[int, int]]) -> list[Other]:
    """One of `others` for each of `positives`, which are sorted by size: that of like rank by size, so that batches have little padding.

    Of more others than positives the first are taken; of fewer each is taken several times.
    """
    ranked = sorted(others[: len(positives)], key=key)
    return [ranked[place * len(ranked) // len(positives)] for place in range(len(positives))]


Example = tuple[Coded, Coded | None, Fork | None]
"""A pair of S+ with a pair of S- and an edit."""


def assembled(
    seq2seq: Seq2Seq, positives: Sequence[Pair], negatives: Sequence[Pair], edits: Sequence[Edit], settings: ContrastSettings
) -> list[Example]:
    """What is trained on, by the size of S+; raises CannotTrain where edits are asked for and none parts."""
    sides = [
        list(zip(seq2seq.sources([s for s, _ in side]), seq2seq.targets([t for _, t in side]), strict=True))
        for side in (positives, negatives)
    ]
    parting = forks(seq2seq, edits) if settings.edit_weight else []
    if settings.edit_weight and not parting:
        raise CannotTrain(
            f"edit_weight is {settings.edit_weight}, but no candidate has an edit: "
            f"choose by a score of a judge, sample more, or lower doubt ({settings.doubt})"
        )
    positive = sorted(sides[0], key=lambda pair: size(*pair))
    negative = beside(positive, sides[1], lambda pair: size(*pair)) if settings.negative_weight else None
    edited = beside(positive, parting, lambda fork: size(fork.source, fork.target)) if parting else None
    nothing = [None] * len(positive)
    return list(zip(positive, negative or nothing, edited or nothing, strict=True))


def train_contrast(
    seq2seq: Seq2Seq,
    positives: Sequence[Pair],
    negatives: Sequence[Pair],
    edits: Sequence[Edit],
    settings: ContrastSettings,
    seed: int,
    checkpoints: Path,
    progress: Progress,
    onlooker: Callable[[int], object] = lambda step: None,
) -> list[dict[str, float]]:
    """Train `seq2seq` in place; each example is a pair of S+ with a pair of S- and an edit of about its size.

    The loss of an edit is -log of the share that the right token has of the probability of right and wrong, at the
    place where the two texts part and nowhere else. `onlooker` sees the step of each entry of
    the curve and may raise Stop.

    Raises TrainingDiverged where the model unlearns S+, as small models do when the negative
    term is strong: it punishes the many right tokens of a wrong summary with the few wrong.
    """
    examples = assembled(seq2seq, positives, negatives, edits, settings)

    def on(pairs: list[tuple[list[int], list[int]]], objective: Callable[[Tensor, Tensor, int], Tensor]) -> tuple[Tensor, int]:
        source = seq2seq.pad_batch([pair[0] for pair in pairs])
        target = seq2seq.pad_batch([pair[1] for pair in pairs])
        logits = seq2seq.logits(source, target)
        value = objective(logits, target, seq2seq.pad)
        return value, int((target != seq2seq.pad).sum())

    smoothed = partial(likelihood, smoothing=settings.training.label_smoothing)

    def loss(batch: list[Example]) -> dict[str, Tensor]:
        positive, tokens = on([pair for pair, _, _ in batch], smoothed)
        terms = {"loss": positive, "positive_loss": positive}
        if worst := [pair for _, pair, _ in batch if pair]:
            negative, others = on(worst, unlikelihood)
            terms["loss"] = (tokens * positive + settings.negative_weight * others * negative) / (tokens + others)
            terms["negative_loss"] = negative
        if ways := [fork for _, _, fork in batch if fork]:
            terms["edit_loss"] = parted(seq2seq, ways)
            terms["loss"] = terms["loss"] + settings.edit_weight * terms["edit_loss"]
        return terms

    def watch(curve: list[dict[str, float]]) -> None:
        step, first, now = int(curve[-1]["step"]), curve[0]["positive_loss"], curve[-1]["positive_loss"]
        if now > first + settings.collapse:
            raise TrainingDiverged(
                f"{progress.name}: collapsing: the loss on S+ rose from {first:.3f} to {now:.3f} by step {step}; "
                f"lower negative_weight ({settings.negative_weight}) or the learning rate ({settings.training.learning_rate})"
            )
        onlooker(step)

    sizes = [size(*pair) for pair, _, _ in examples]
    return fit(seq2seq.model, loss, examples, sizes, settings.training, seed, checkpoints, progress, watch)
