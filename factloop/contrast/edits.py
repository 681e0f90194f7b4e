"""Near-identical pairs: a candidate, and the same without what its document does not bear out.

In: all texts of a document, its reference and its candidates, as a judge saw them. Out: pairs of texts
that differ in one sentence, of which one is right. Training against a whole bad summary punishes its many right
tokens, hardest where the model is surest; here only the token is punished at which the two part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..claims.mentions import folded, sentences

SHARED = 0.7  # of a sentence's words that the sentence in whose place it comes must have


@dataclass(frozen=True)
class Judged:
    """A text with what the judge asked about it."""

    text: str
    score: float | None
    answers: dict[str, float]
    """By answer, or by sentence where the judge gives those a score, how far the document bears it out, in the units of the score."""

    def doubted(self, least: float) -> list[str]:
        """Answers that the document bears out less than `least`."""
        return [answer for answer, difference in self.answers.items() if difference < least]


def edits(texts: Sequence[Judged], least: float) -> list[tuple[str, str]]:
    """(right, wrong) for each candidate scored under `least`; `texts` are the reference, then the candidates.

    In its first sentence with a doubted answer stands, in the right one, the sentence most like it of any of the
    texts that has no answer doubted there. Without one that begins as it does and shares most words, there is no pair.
    """
    clean = [sentence for judged in texts if judged.score is not None for sentence in _clean(judged, least)]
    found = []
    for judged in texts[1:]:
        if judged.score is None or judged.score >= least:
            continue
        doubted = judged.doubted(least)
        spans = [span for span in sentences(judged.text) if _has(judged.text[slice(*span)], doubted)]
        best = max(clean, key=lambda sentence: _likeness(sentence, judged.text[slice(*spans[0])]), default="") if spans else ""
        if best and _likeness(best, judged.text[slice(*spans[0])]) >= SHARED:
            begin, end = spans[0]
            found.append((judged.text[:begin] + best + judged.text[end:], judged.text))
    return list(dict.fromkeys(found))


def _clean(judged: Judged, least: float) -> list[str]:
    doubted = judged.doubted(least)
    return [text for begin, end in sentences(judged.text) if not _has(text := judged.text[begin:end], doubted)]


def _has(sentence: str, answers: Sequence[str]) -> bool:
    """Letters alone are compared, as QUALS does: an answer comes as its judge's tokenizer gives it back."""
    return any(folded(answer) in folded(sentence) for answer in answers)


def _likeness(sentence: str, other: str) -> float:
    """The share of the words of `sentence` that `other` has too; 0 for the same words or another beginning."""
    words, others = sentence.lower().split(), other.lower().split()
    if words == others or words[:1] != others[:1]:
        return 0.0
    return len(set(words) & set(others)) / len(set(words))
