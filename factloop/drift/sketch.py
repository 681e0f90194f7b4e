"""Texts as numbers that need no model: hashed character and word counts, and the word pairs that each has.

One row a text, from that text alone, so that what comes of a text does not depend on what it is compared with.
Only the first 2,000 characters are read: source and style show there, and the length is a test of its own.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LETTERS = 2000
CHARACTERS, WORDS = 1024, 512  # buckets of the dense blocks
PAIRS = 1 << 20  # buckets of words and word pairs, so many that few collide
WORD = re.compile(r"\w+|[^\w\s]")
Hashes = NDArray[np.uint64]
MIX, FOLD = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@dataclass(frozen=True)
class Sketch:
    """Of n texts."""

    characters: NDArray[np.float32]
    """[n, 1024]: square roots of the counts of hashed character trigrams, case kept; each row of length 1."""
    words: NDArray[np.float32]
    """[n, 512]: the same of lower-case words and punctuation marks."""
    single: list[NDArray[np.int64]]
    """Of each text the hashes of its words, once each."""
    pairs: list[NDArray[np.int64]]
    """Of each text the hashes of its pairs of neighbouring words, once each."""

    def __len__(self) -> int:
        return len(self.single)

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> Sketch:
        """The rows of these texts, in this order."""
        rows = list(places)
        return Sketch(self.characters[rows], self.words[rows], [self.single[row] for row in rows], [self.pairs[row] for row in rows])


def join(first: Sketch, second: Sketch) -> Sketch:
    """The texts of both, one after the other."""
    characters, words = np.concatenate([first.characters, second.characters]), np.concatenate([first.words, second.words])
    return Sketch(characters, words, first.single + second.single, first.pairs + second.pairs)


def sketch(texts: Sequence[str]) -> Sketch:
    characters, words = (np.zeros((len(texts), buckets), dtype=np.float32) for buckets in (CHARACTERS, WORDS))
    single, pairs = [], []
    known: dict[str, int] = {}
    for row, text in enumerate(texts):
        head = " ".join(text[: 2 * LETTERS].split())[:LETTERS]
        characters[row] = _counts(_trigrams(head), CHARACTERS)
        hashes = _word_hashes(head.lower(), known)
        words[row] = _counts(hashes, WORDS)
        single.append(np.unique(hashes % np.uint64(PAIRS)).astype(np.int64))
        pairs.append(np.unique(_mixed(hashes[:-1] * np.uint64(31) + hashes[1:]) % np.uint64(PAIRS)).astype(np.int64))
    return Sketch(characters, words, single, pairs)


def _mixed(values: Hashes) -> Hashes:
    """Well spread over 32 bits (Fibonacci hashing, Knuth 1973, 6.4)."""
    return np.asarray((values ^ (values >> np.uint64(29))) * MIX >> FOLD)


def _trigrams(text: str) -> Hashes:
    """A hash of each three bytes of the text, with a space before and after it."""
    codes = np.frombuffer(f"  {text}  ".encode("utf-8", "replace"), dtype=np.uint8).astype(np.uint64)
    return _mixed((codes[:-2] << np.uint64(16)) + (codes[1:-1] << np.uint64(8)) + codes[2:])


def _word_hashes(text: str, known: dict[str, int]) -> Hashes:
    """A hash of each word, with a mark for the end of the text before and after them; `known` keeps those of words seen."""
    found = [0]
    for word in WORD.findall(text):
        if word not in known:
            known[word] = zlib.crc32(word.encode("utf-8", "replace"))
        found.append(known[word])
    return _mixed(np.array([*found, 0], dtype=np.uint64) + np.uint64(1))


def _counts(hashes: Hashes, buckets: int) -> NDArray[np.float64]:
    """Square roots of the counts by bucket, which keep what is frequent from ruling; of length 1."""
    row = np.sqrt(np.bincount((hashes % np.uint64(buckets)).astype(np.int64), minlength=buckets))
    return np.asarray(row / np.linalg.norm(row))
