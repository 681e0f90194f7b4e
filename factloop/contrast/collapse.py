"""Outputs that say the same of every document, or go round in circles: what a loss does not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..decoding import beam_search
from ..metrics import repeats
from ..seq2seq import Segments, Seq2Seq
from ..settings import BeamSettings
from ..training import TrainingDiverged

LOOKED_AT = 32  # documents, by greedy search
LOST, GAINED = 0.5, 0.25  # of the share of texts that differ, and more texts that repeat, than before the training


@dataclass(frozen=True)
class Outputs:
    """Shares of texts: of all those that differ from each other, and those that repeat themselves."""

    distinct: float
    repeating: float


def look(seq2seq: Seq2Seq, documents: Sequence[Segments], name: str) -> Outputs:
    return shares(beam_search(seq2seq, documents[:LOOKED_AT], f"{name}: looked at", BeamSettings(beams=1)))


def shares(texts: Sequence[str]) -> Outputs:
    return Outputs(len(set(texts)) / len(texts), sum(map(repeats, texts)) / len(texts))


def check(before: Outputs, after: Outputs, name: str) -> None:
    """Raise TrainingDiverged where a training has made outputs much more alike or repetitive."""
    if after.distinct < LOST * before.distinct or after.repeating > before.repeating + GAINED:
        raise TrainingDiverged(
            f"{name}: collapsed: of the summaries of {LOOKED_AT} documents {after.distinct:.0%} differ from each other "
            f"({before.distinct:.0%} before) and {after.repeating:.0%} repeat themselves ({before.repeating:.0%} before); "
            "lower the learning rate, the steps, negative_weight or edit_weight"
        )
