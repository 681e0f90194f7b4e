"""QUALS (Nan et al. 2021): is what a summary says about itself also what its document says?

A QAGen model writes question-answer pairs about the summary. Each pair is scored by teacher
forcing given the summary and given the document; the score is the mean over pairs of
(log-likelihood under the document - under the summary), each a mean per token over question,
separator, answer and end. Towards 0 is consistent; a pair that the document does not bear out
pulls the score down. The published code reuses the beam score, penalties included, on the
summary side; here both sides are scored alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tqdm import tqdm

from ..decoding import Hypothesis, Likelihood, diverse_beam_search, score_targets
from ..seq2seq import SEP, Seq2Seq
from ..settings import QualsSettings


@dataclass(frozen=True)
class QualsPair:
    question: str
    answer: str
    document: float
    """Mean log-likelihood per token given the document, in nats."""
    summary: float
    """The same given the summary."""

    @property
    def difference(self) -> float:
        return self.document - self.summary


@dataclass(frozen=True)
class Quals:
    """The verdict on one summary. With `no_evidence` there are no pairs and no scores."""

    pairs: list[QualsPair]

    @property
    def status(self) -> Literal["scored", "no_evidence"]:
        return "scored" if self.pairs else "no_evidence"

    @property
    def mean(self) -> float | None:
        return sum(pair.difference for pair in self.pairs) / len(self.pairs) if self.pairs else None

    @property
    def worst(self) -> float | None:
        return min((pair.difference for pair in self.pairs), default=None)


def split_pair(seq2seq: Seq2Seq, ids: list[int]) -> tuple[str, str] | None:
    """Question and answer of a generated sequence; None unless exactly one separator parts them."""
    separator = seq2seq.special(SEP)
    if ids.count(separator) != 1:
        return None
    cut = ids.index(separator)
    question, answer = seq2seq.decode(ids[:cut]), seq2seq.decode(ids[cut + 1 :])
    return (question, answer) if question and answer else None


def keep_pairs(seq2seq: Seq2Seq, hypotheses: Sequence[Hypothesis], summary: str, wanted: int) -> list[tuple[str, str, list[int]]]:
    """The published filters: well-formed, answer in the summary, round-robin over answers.

    Pairs are taken best score first, one per distinct answer and round, until `wanted` are
    kept; the count is checked between rounds only, so a first round is always whole.
    """
    by_answer: dict[str, list[tuple[str, str, list[int]]]] = {}
    seen = set()
    for hypothesis in sorted(hypotheses, key=lambda found: -found.score):
        parts = split_pair(seq2seq, hypothesis.ids)
        if parts is None or parts[1].lower() not in summary.lower() or parts in seen:
            continue
        seen.add(parts)
        by_answer.setdefault(parts[1].lower(), []).append((*parts, [*hypothesis.ids, seq2seq.eos]))
    kept: list[tuple[str, str, list[int]]] = []
    rounds = max(map(len, by_answer.values()), default=0)
    for index in range(rounds):
        if len(kept) >= wanted:
            break
        kept += [pairs[index] for pairs in by_answer.values() if index < len(pairs)]
    return kept


def quals(qagen: Seq2Seq, documents: Sequence[str], summaries: Sequence[str], settings: QualsSettings, name: str = "QUALS") -> list[Quals]:
    """Score each summary against its document, of which `settings.pieces` windows are read."""
    if len(documents) != len(summaries):
        raise ValueError(f"{len(documents)} documents but {len(summaries)} summaries")
    qagen.model.eval()
    order = sorted(range(len(summaries)), key=lambda index: (len(documents[index]), len(summaries[index])))
    result: dict[int, Quals] = {}
    for begin in tqdm(range(0, len(order), settings.batch_size), desc=name, mininterval=5, unit="batch"):
        part = order[begin : begin + settings.batch_size]
        said = qagen.sources([[summaries[index]] for index in part])
        read = [qagen.pieces(documents[index])[: settings.pieces] for index in part]
        found = diverse_beam_search(
            qagen, qagen.pad_batch(said), settings.groups, settings.strength, settings.min_length, settings.max_length
        )
        kept = [keep_pairs(qagen, line, summaries[index], settings.pairs) for line, index in zip(found, part, strict=True)]
        targets = [[ids for _, _, ids in pairs] for pairs in kept]
        by_first = score_targets(qagen, [pieces[0] for pieces in read], targets)
        given = [_best(qagen, *item) if len(item[0]) > 1 else item[2] for item in zip(read, targets, by_first, strict=True)]
        scores = zip(given, score_targets(qagen, said, targets), strict=True)
        for index, pairs, (by_document, by_summary) in zip(part, kept, scores, strict=True):
            result[index] = Quals(_pairs(pairs, by_document, by_summary))
    return [result[index] for index in range(len(summaries))]


def _best(qagen: Seq2Seq, pieces: list[list[int]], targets: list[list[int]], by_first: list[Likelihood]) -> list[Likelihood]:
    """The likelihood of each target given the piece of its document that makes it most likely."""
    by_piece = [by_first, *score_targets(qagen, pieces[1:], [targets] * (len(pieces) - 1))]
    return [max(found, key=lambda likelihood: likelihood.mean) for found in zip(*by_piece, strict=True)]


def _pairs(
    kept: Sequence[tuple[str, str, list[int]]], by_document: Sequence[Likelihood], by_summary: Sequence[Likelihood]
) -> list[QualsPair]:
    return [
        QualsPair(question, answer, document.mean, summary.mean)
        for (question, answer, _), document, summary in zip(kept, by_document, by_summary, strict=True)
    ]


def ask(qagen: Seq2Seq, passages: Sequence[str], settings: QualsSettings) -> list[tuple[str, str]]:
    """The most likely question about each passage with its answer; two empty strings for none."""
    found = diverse_beam_search(
        qagen, qagen.pad_batch(qagen.sources([[text] for text in passages])),
        settings.groups, settings.strength, settings.min_length, settings.max_length,
    )  # fmt: skip
    kept = [keep_pairs(qagen, line, passage, 1) for line, passage in zip(found, passages, strict=True)]
    return [(pairs[0][0], pairs[0][1]) if pairs else ("", "") for pairs in kept]
