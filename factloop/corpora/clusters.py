"""Near-duplicates, and splits that they cannot straddle."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

Split = Literal["train", "validation", "test"]
THRESHOLD = 0.7  # Jaccard similarity of word 2-grams above which two texts are one cluster
PERMUTATIONS = 64


def shingles(text: str) -> list[bytes]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[i : i + 2]).encode() for i in range(max(1, len(words) - 1))]


def clusters(texts: Sequence[str]) -> list[str]:
    """For each text a name of its near-duplicate cluster: the least digest among its members.

    Candidate pairs by MinHash with locality-sensitive hashing, joined transitively.
    """
    from datasketch import MinHash, MinHashLSH

    digests = [hashlib.sha256(" ".join(text.split()).encode()).hexdigest() for text in texts]
    parent = list(range(len(texts)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    index_of = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    hashes = MinHash.bulk([shingles(text) for text in texts], num_perm=PERMUTATIONS, seed=1)
    for position, found in enumerate(hashes):
        for other in index_of.query(found):
            if hashes[other].jaccard(found) >= THRESHOLD:
                parent[root(position)] = root(other)
        index_of.insert(position, found)
    least: dict[int, str] = {}
    for position, name in enumerate(digests):
        top = root(position)
        least[top] = min(name, least.get(top, name))
    return [least[root(position)] for position in range(len(texts))]


def assign(cluster: str, validation: float, test: float) -> Split:
    """The split of a cluster, by its hash: it stays the same however the corpus grows."""
    place = int(hashlib.sha256(f"split {cluster}".encode()).hexdigest()[:12], 16) / 16**12
    return "test" if place < test else "validation" if place < test + validation else "train"
