"""Word overlap between a summary and its document: the baseline every judge must beat."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ..claims.mentions import places

WORD = re.compile(r"\w+")


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _precision(summary: list[str], document: list[str], order: int) -> float | None:
    """The share of the summary's n-grams that the document has as often (clipped as BLEU's, Papineni et al. 2002)."""
    said, known = (Counter(zip(*(words[i:] for i in range(order)), strict=False)) for words in (summary, document))
    return (said & known).total() / said.total() if said else None


def overlap_features(document: str, summary: str) -> dict[str, float | None]:
    """Shares from 0 to 1, higher where the summary's words are nearer to the document's; None where there is nothing to share.

    `worst_sentence` is the lowest share, over the summary's sentences, of words found in the
    one document sentence that covers it best; `values` is the share of the summary's numbers
    and capitalised words within sentences that occur in the document.
    """
    said, read = _words(summary), _words(document)
    sentences = [set(_words(part)) for part in re.split(r"(?<=[.!?])\s+", document)]
    shares = [
        max(len(words & sentence) / len(words) for sentence in sentences)
        for part in re.split(r"(?<=[.!?])\s+", summary)
        if (words := set(_words(part)))
    ]
    values = re.findall(r"\b(?:\d+|(?<!^)(?<![.!?] )[A-Z]\w+)\b", summary)
    known = set(read)
    return {
        "unigrams": _precision(said, read, 1),
        "bigrams": _precision(said, read, 2),
        "trigrams": _precision(said, read, 3),
        "worst_sentence": min(shares, default=None),
        "values": sum(value.lower() in known for value in values) / len(values) if values else None,
    }


def overlap(documents: Sequence[str], summaries: Sequence[str]) -> list[dict[str, float | None]]:
    """`overlap_features` of each pair."""
    return [overlap_features(*pair) for pair in zip(documents, summaries, strict=True)]


def marked_words(document: str, summary: str, doubted: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The summary in pieces, words apart from what stands between, each with what is wrong with it.

    `absent`: the word is not in the document. `doubted`: it is in one of the answers that a judge doubts.
    """
    known = set(_words(document))
    spans = [span for answer in doubted for span in places(answer, summary)]
    pieces, place = [], 0
    for piece in filter(None, re.split(r"(\w+)", summary)):
        word = bool(WORD.fullmatch(piece))
        wrong = "absent" if word and piece.lower() not in known else ""
        if word and not wrong and any(begin <= place < end for begin, end in spans):
            wrong = "doubted"
        pieces.append((piece, wrong))
        place += len(piece)
    return pieces
