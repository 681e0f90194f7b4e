"""What a person looks at to see why incoming texts differ: words that moved, and the texts that stand out. No verdict."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .texts import TextTest

SHOWN = 12  # words each way, and texts
SEEN = 3  # texts that have a word which is shown
FIRST = 6  # words of a text


@dataclass(frozen=True)
class Word:
    word: str
    incoming: float
    old: float
    """The shares of texts that have it."""


@dataclass(frozen=True)
class Unlike:
    """An incoming text that stands out."""

    place: int
    """Of its example, from 0."""
    text: str
    words: list[str]
    """Its words that are least among the old texts and, of those, most among the incoming."""


def look(test: TextTest, incoming: Sequence[str], old: Sequence[str], places: Sequence[int]) -> tuple[list[Word], list[Unlike]]:
    """The words whose share of texts differs most, those of the incoming first; and the incoming texts that stand out most.

    `places` are those of the incoming texts in the person's file.
    """
    new, before = (Counter(word for text in side for word in _words(text)) for side in (incoming, old))

    def distance(word: str) -> float:
        """In standard errors of no difference."""
        both = (new[word] + before[word]) / (len(incoming) + len(old))
        error = math.sqrt(max(both * (1 - both), 1e-9) * (1 / len(incoming) + 1 / len(old)))
        return (new[word] / len(incoming) - before[word] / len(old)) / error

    known = sorted((word for word in new | before if new[word] + before[word] >= SEEN), key=lambda word: (-distance(word), word))
    chosen = [*known[:SHOWN], *known[max(SHOWN, len(known) - SHOWN) :]]
    words = [Word(word, new[word] / len(incoming), before[word] / len(old)) for word in chosen]
    first = np.argsort(-test.unlike, kind="stable")[:SHOWN]
    return words, [Unlike(places[index], incoming[index], _telling(incoming[index], new, before)) for index in first]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _telling(text: str, new: Counter[str], before: Counter[str]) -> list[str]:
    return sorted(_words(text), key=lambda word: (before[word], -new[word], word))[:FIRST]
