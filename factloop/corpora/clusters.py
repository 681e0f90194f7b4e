"""Near-duplicates: found, put into one split, and kept away from what people judged."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
THRESHOLD = 0.7  # Jaccard similarity of word 2-grams above which two texts are one cluster
# Of 300 copies with 3% of their words deleted, 128 permutations find 298 of abstracts and
# articles and 285 of one-sentence texts; 64 find 297 and 276.
PERMUTATIONS = 128


def grams(text: str, size: int) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1))]


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
    hashes = MinHash.bulk([[gram.encode() for gram in grams(text, 2)] for text in texts], num_perm=PERMUTATIONS, seed=1)
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


def assign_all(names: Sequence[str], published: Sequence[Split | None], validation: float, test: float) -> list[Split | None]:
    """The split of each text by its cluster, None for one that is to be dropped.

    A published split is kept. Where a cluster has members in several, those in the latest of
    train, validation and test stay, so that nothing that trains is a copy of what is tested.
    """
    latest: dict[str, Split] = {}
    for name, split in zip(names, published, strict=True):
        if split is not None:
            latest[name] = max(split, latest.get(name, split), key=SPLITS.index)

    def place(name: str, split: Split | None) -> Split | None:
        if name not in latest:
            return assign(name, validation, test)
        # One without a published split may join what trains, but not change a published examination.
        return latest[name] if split == latest[name] or (split is None and latest[name] == "train") else None

    return [place(name, split) for name, split in zip(names, published, strict=True)]


def leaked(texts: Iterable[str], guarded: Sequence[str]) -> Iterator[bool]:
    """Whether each text repeats one of `guarded`: at least 0.7 of the shorter one's word 2-grams are shared.

    Of the shorter one, since published sets cut their documents. Only texts that share a 5-gram
    are compared, as two with so many common 2-grams nearly always do.
    """
    bigrams = [set(grams(text, 2)) for text in guarded]
    holders: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(guarded):
        for gram in set(grams(text, 5)):
            holders[gram].append(index)
    for text in texts:
        near = Counter(index for gram in set(grams(text, 5)) for index in holders.get(gram, ()))
        own = set(grams(text, 2)) if near else set()
        yield any(len(own & bigrams[index]) >= THRESHOLD * min(len(own), len(bigrams[index])) for index in near)
