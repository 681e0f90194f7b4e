"""Passages as short as summaries, cut from those of reading comprehension: what judges read is a sentence or two."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from ..claims.mentions import sentences

GROWTH = 2  # sentences beside those of the answer, at most


def with_short(passages: Sequence[dict[str, Any]], each: int, seed: int) -> list[dict[str, Any]]:
    """Rows with `passage` and `questions`, each followed by up to `each` of some of its sentences with the questions that these answer."""
    rng = random.Random(f"short passages {seed}")
    return [part for row in passages for part in (row, *_cuts(row, each, rng))]


def _cuts(row: dict[str, Any], each: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    passage: str = row["passage"]
    spans = sentences(passage)
    answers = sorted({item["answer"] for item in row["questions"] if item["answer"] in passage})
    for answer in rng.sample(answers, min(each, len(answers))):
        begin = passage.index(answer)
        first = max((n for n, span in enumerate(spans) if span[0] <= begin), default=0)
        last = next((n for n, span in enumerate(spans) if span[1] >= begin + len(answer)), len(spans) - 1)
        for _ in range(rng.randint(0, GROWTH)):
            first, last = (first - 1, last) if first and (last + 1 == len(spans) or rng.random() < 0.5) else (first, last + 1)
        if first > 0 or last + 1 < len(spans):
            text = passage[spans[first][0] : spans[min(last, len(spans) - 1)][1]]
            yield row | {"passage": text, "questions": [item for item in row["questions"] if item["answer"] in text]}
