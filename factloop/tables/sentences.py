"""Sentences of a text, by Wikimedia's sentencex: it knows abbreviations, and the stops of other scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator

import sentencex

FULL_WIDTH = re.compile(r"(?<=[\u3002\uff01\uff1f])(?![\u300d\u300f\uff09\u201d])")  # no white space follows these stops
COMPOUND = re.compile(
    r"[-\u2013/](?:St|Ste|Mt|Ft)\.$"
)  # abbreviations in one word with another are none to sentencex: `Minneapolis-St. Paul`


def sentence_spans(text: str, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Character spans of the sentences of a part of a text, without white space around them."""
    parts = (piece for part in sentencex.segment("en", text[begin:end]) for piece in FULL_WIDTH.split(part))
    first = None
    for part in parts:
        if sentence := part.strip():
            begin = text.index(sentence, begin)
            first, begin = begin if first is None else first, begin + len(sentence)
            if not COMPOUND.search(sentence):
                yield first, begin
                first = None
    if first is not None:
        yield first, begin


def sentences(text: str) -> list[str]:
    return [text[begin:end] for begin, end in sentence_spans(text)]
