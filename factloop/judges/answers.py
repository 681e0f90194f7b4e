"""Answers compared as SQuAD does it (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

import re
import string
from collections import Counter

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Lower case, without punctuation and articles, single spaces; where nothing else is left, as it is but for case and spaces.

    SQuAD's makes all of "the", "a" and "?" one empty answer, and these alike.
    """
    plain = " ".join(answer.lower().split())
    return " ".join(_ARTICLES.sub(" ", plain.translate(_PUNCTUATION)).split()) or plain


def token_f1(first: str | None, second: str | None) -> float:
    """F1 of the words of two answers, 0 to 1. None is "no answer": 1 against another None, else 0."""
    if first is None or second is None:
        return float(first is second)
    one, other = normalise(first).split(), normalise(second).split()
    if not one or not other:
        return float(one == other)
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * shared / (len(one) + len(other))
