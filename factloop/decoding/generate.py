"""Beam search and top-k sampling for many texts, by `generate` of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tqdm import tqdm

from ..seq2seq import Segments, Seq2Seq
from ..settings import BeamSettings


@torch.inference_mode()
def _generate(
    seq2seq: Seq2Seq, texts: Sequence[Segments], name: str, batch_size: int, seed: int, count: int, lengths: tuple[int, int], **options: Any
) -> list[list[str]]:
    seq2seq.model.eval()
    ids = seq2seq.sources(texts)
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    result: dict[int, list[str]] = {}
    torch.manual_seed(seed)
    for begin in tqdm(range(0, len(order), batch_size), desc=name, mininterval=5, unit="batch"):
        part = order[begin : begin + batch_size]
        source = seq2seq.pad_batch([ids[index] for index in part])
        out = seq2seq.model.generate(
            input_ids=source,
            attention_mask=(source != seq2seq.pad).long(),
            min_new_tokens=lengths[0] or None,
            max_new_tokens=lengths[1] or seq2seq.window.target,
            num_return_sequences=count,
            **options,
        ).tolist()
        for row, index in enumerate(part):
            result[index] = [seq2seq.decode(line) for line in out[row * count : (row + 1) * count]]
    return [result[index] for index in range(len(ids))]


def beam_search(
    seq2seq: Seq2Seq, texts: Sequence[Segments], name: str = "generate", settings: BeamSettings | None = None, batch_size: int = 64
) -> list[str]:
    """The best hypothesis for each text, length penalty 1."""
    beam = settings or BeamSettings()
    lengths = (beam.min_length, beam.max_length)
    found = _generate(seq2seq, texts, name, batch_size, 0, 1, lengths, num_beams=beam.beams, do_sample=False, early_stopping=True)
    return [line[0] for line in found]


def sample(
    seq2seq: Seq2Seq,
    texts: Sequence[Segments],
    count: int,
    top_k: int,
    seed: int,
    name: str = "sample",
    lengths: tuple[int, int] = (0, 0),
    batch_size: int = 64,
) -> list[list[str]]:
    """`count` samples for each text, each token from the `top_k` most likely.

    `lengths` are the fewest and most tokens; 0 for no limit but the window.
    """
    return _generate(seq2seq, texts, name, batch_size, seed, count, lengths, num_beams=1, do_sample=True, top_k=top_k)
