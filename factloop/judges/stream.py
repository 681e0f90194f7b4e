"""Verdicts in a stream: texts of like length are judged together, and few of them are held at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import TypeVar

from tqdm import tqdm

Pair = tuple[str, str]
"""Document and summary."""
Verdict = TypeVar("Verdict")
WINDOW = 8  # batches that are sorted by length together, and all that is held at once


def stream(
    judge: Callable[[Sequence[Pair]], Sequence[Verdict]], pairs: Iterable[Pair], batch_size: int, name: str | None = None
) -> Iterator[Verdict]:
    """What `judge` says of each pair, in order; `pairs` may be endless.

    It is asked for `batch_size` of them at a time, always the same ones of the same pairs.
    `name` is what the progress is called; without, none is shown.
    """
    items = iter(pairs)
    total = len(pairs) if isinstance(pairs, Sized) else None
    with tqdm(total=total, desc=name, mininterval=5, unit="summary", disable=name is None) as bar:
        while held := list(islice(items, WINDOW * batch_size)):
            order = sorted(range(len(held)), key=lambda index: tuple(map(len, held[index])))
            found: dict[int, Verdict] = {}
            for begin in range(0, len(order), batch_size):
                part = order[begin : begin + batch_size]
                found |= zip(part, judge([held[index] for index in part]), strict=True)
                bar.update(len(part))
            yield from (found.pop(index) for index in range(len(held)))


def paired(documents: Sequence[str], summaries: Sequence[str]) -> list[Pair]:
    """Documents with their summaries; ValueError where there are more of the one."""
    if len(documents) != len(summaries):
        raise ValueError(f"{len(documents)} documents but {len(summaries)} summaries")
    return list(zip(documents, summaries, strict=True))
