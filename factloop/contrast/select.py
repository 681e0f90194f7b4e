"""Choose S+ and S- by a judge's scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..training import CannotTrain


@dataclass(frozen=True)
class Contrast:
    positives: list[int]
    """Documents whose reference is in S+, best first."""
    negatives: list[tuple[int, int]]
    """(document, candidate) of S-, worst first: of a document only its worst candidate."""


def select(
    references: Sequence[float | None],
    candidates: Sequence[Sequence[float | None]],
    positive_share: float,
    negative_share: float,
    intersect: bool = False,
) -> Contrast:
    """S+ is the share of references scored highest, S- of worst candidates scored lowest.

    These are the published separate sets, or with `intersect` the documents that are in both, in
    one order, as the published recipe for XSum takes them. A score of None (no evidence) enters
    neither. Raises CannotTrain where a set would be empty.
    """
    ranked = sorted(((score, index) for index, score in enumerate(references) if score is not None), key=lambda pair: (-pair[0], pair[1]))
    worst = sorted(
        min((score, document, candidate) for candidate, score in enumerate(scores) if score is not None)
        for document, scores in enumerate(candidates)
        if any(score is not None for score in scores)
    )
    positives = [index for _, index in ranked[: round(positive_share * len(ranked))]]
    negatives = [(document, candidate) for _, document, candidate in worst[: round(negative_share * len(worst))]]
    if intersect:
        rejected = dict(negatives)
        positives = [document for document in positives if document in rejected]
        negatives = [(document, rejected[document]) for document in positives]
    if not positives or not negatives:
        both = " in both shares" if intersect else ""
        raise CannotTrain(
            f"S+ has {len(positives)} and S- {len(negatives)} summaries{both}: of {len(references)} documents "
            f"{len(ranked)} references and {len(worst)} sets of candidates have a score; "
            f"score more documents or raise the shares ({positive_share}, {negative_share})"
        )
    return Contrast(positives, negatives)
