"""Maximum likelihood on (source, target) pairs: how every model but the contrastive learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..seq2seq import Segments, Seq2Seq
from ..settings import TrainingSettings
from .fit import Progress, fit, likelihood

Pair = tuple[Segments, Segments]


def size(source: Sequence[int], target: Sequence[int]) -> tuple[int, int]:
    """What pairs are sorted by to spare padding: the target's length in fours, then the source's.

    Of batches of the world's summaries 8% is padding so, and 12% by the sum of both lengths (tests/test_library.py).
    """
    return len(target) // 4, len(source)


def train_pairs(
    seq2seq: Seq2Seq, pairs: Sequence[Pair], settings: TrainingSettings, seed: int, checkpoints: Path, progress: Progress
) -> list[dict[str, float]]:
    """Train `seq2seq` in place on the pairs and return the curve."""
    sources = seq2seq.sources([source for source, _ in pairs])
    targets = seq2seq.targets([target for _, target in pairs])

    def loss(batch: list[tuple[list[int], list[int]]]) -> dict[str, Tensor]:
        source = seq2seq.pad_batch([pair[0] for pair in batch])
        target = seq2seq.pad_batch([pair[1] for pair in batch])
        logits = seq2seq.logits(source, target)
        return {"loss": likelihood(logits, target, seq2seq.pad, settings.label_smoothing)}

    examples = list(zip(sources, targets, strict=True))
    return fit(seq2seq.model, loss, examples, [size(*pair) for pair in examples], settings, seed, checkpoints, progress)
