"""The contrastive loss: likelihood on S+ and unlikelihood on S-."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from ..seq2seq import Seq2Seq
from ..settings import ContrastSettings
from ..training import Progress, TrainingDiverged, fit, likelihood
from ..training.pairs import Pair


def unlikelihood(logits: Tensor, target: Tensor, pad: int) -> Tensor:
    """Mean of -log(1 - p(token)) over the target tokens that are not padding (Welleck et al. 2020)."""
    taken = logits.float().softmax(-1).gather(-1, target[..., None])[..., 0]
    return -(1 - taken).clamp_min(1e-20).log()[target != pad].mean()


def train_contrast(
    seq2seq: Seq2Seq,
    positives: Sequence[Pair],
    negatives: Sequence[Pair],
    settings: ContrastSettings,
    seed: int,
    checkpoints: Path,
    progress: Progress,
) -> list[dict[str, float]]:
    """Train `seq2seq` in place; each example is a pair of S+ with the next pair of S-.

    Raises TrainingDiverged where the model unlearns S+, as small models do when the negative
    term is strong: it punishes the many right tokens of a wrong summary with the few wrong.
    """
    sides = [
        list(zip(seq2seq.sources([s for s, _ in side]), seq2seq.targets([t for _, t in side]), strict=True))
        for side in (positives, negatives)
    ]
    examples = [(pair, sides[1][index % len(sides[1])]) for index, pair in enumerate(sides[0])]
    first: list[float] = []

    def on(pairs: list[tuple[list[int], list[int]]], objective: object) -> tuple[Tensor, int]:
        source = seq2seq.pad_batch([pair[0] for pair in pairs])
        target = seq2seq.pad_batch([pair[1] for pair in pairs])
        logits = seq2seq.logits(source, target)
        value = objective(logits, target, seq2seq.pad)  # type: ignore[operator]
        return value, int((target != seq2seq.pad).sum())

    smoothed = partial(likelihood, smoothing=settings.training.label_smoothing)

    def loss(batch: list[tuple[tuple[list[int], list[int]], tuple[list[int], list[int]]]]) -> dict[str, Tensor]:
        positive, tokens = on([pair for pair, _ in batch], smoothed)
        if not settings.negative_weight:
            return {"loss": positive, "positive_loss": positive}
        negative, others = on([pair for _, pair in batch], unlikelihood)
        both = (tokens * positive + settings.negative_weight * others * negative) / (tokens + others)
        return {"loss": both, "positive_loss": positive, "negative_loss": negative}

    def watch(step: int, means: dict[str, float]) -> None:
        first.append(means["positive_loss"])
        if means["positive_loss"] > first[0] + settings.collapse:
            raise TrainingDiverged(
                f"{progress.name}: collapsing: the loss on S+ rose from {first[0]:.3f} to {means['positive_loss']:.3f} "
                f"by step {step}; lower negative_weight ({settings.negative_weight}) or the learning rate "
                f"({settings.training.learning_rate})"
            )

    lengths = [len(pair[0]) + len(pair[1]) for pair, _ in examples]
    return fit(seq2seq.model, loss, examples, lengths, settings.training, seed, checkpoints, progress, watch)
