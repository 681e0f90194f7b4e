"""QUALS (Nan et al. 2021): is what a summary says about itself also what its document says?

A QAGen model writes question-answer pairs about the summary. Each pair is scored by teacher
forcing given the summary and given the document; the score is the mean over pairs of
(log-likelihood under the document - under the summary), each a mean per token over question,
separator, answer and end. Towards 0 is consistent; a pair that the document does not bear out
pulls the score down. The published code reuses the beam score, penalties included, on the
summary side (`summary_side="beam"`); by default both sides are scored alike. A document longer
than the judge's window is read in overlapping pieces, and each pair is scored given the piece
that makes it most likely.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..claims.mentions import folded
from ..decoding import Hypothesis, Likelihood, diverse_beam_search, score_targets
from ..seq2seq import SEP, Seq2Seq
from ..settings import QualsSettings
from .stream import Pair, paired, stream
from .unfit import NOT_FINITE, unfit

LOW = 0.2  # quantile over the pairs: one wrong detail barely moves a mean, and the worst pair of many is often a bad question
PUNCTUATION = (".", ",", ";")  # published: these and the end are no part of an answer's likelihood


@dataclass(frozen=True)
class Token:
    text: str
    document: float
    """Log-probability given the document and what comes before, in nats."""
    summary: float
    """The same given the summary."""


@dataclass(frozen=True)
class QualsPair:
    question: str
    answer: str
    document: float
    """Mean log-likelihood per token given the document, in nats."""
    summary: float
    """The same given the summary; with `summary_side="beam"` the beam's score per token."""
    tokens: list[Token]
    """Question, separator, answer and end, both sides by teacher forcing."""
    cut: int
    """Where the answer begins among the tokens."""

    @property
    def difference(self) -> float:
        return self.document - self.summary

    @property
    def answer_only(self) -> float:
        """Log-likelihood of the answer given document less given summary, summed over its tokens (published as `ans_lm`)."""
        return sum(token.document - token.summary for token in self.tokens[self.cut : -1] if token.text.strip() not in PUNCTUATION)


@dataclass(frozen=True)
class Quals:
    """The verdict on one summary. Without the status `scored` there are no pairs and no scores."""

    pairs: list[QualsPair]
    status: str
    """`scored`, `no_evidence` (nothing that could be asked survived the filters), or why it was not judged."""

    @property
    def scores(self) -> dict[str, float | None]:
        """Each aggregate over the pairs, None where there are none; higher is more consistent."""
        if not self.pairs:
            return dict.fromkeys(AGGREGATES)
        whole = [pair.difference for pair in self.pairs]
        answers = [pair.answer_only for pair in self.pairs]
        values = [float(np.mean(whole)), float(np.quantile(whole, LOW)), min(whole), float(np.mean(answers)), min(answers)]
        return dict(zip(AGGREGATES, values, strict=True))


AGGREGATES = ("quals", "quals_low", "quals_worst", "quals_answer", "quals_answer_worst")


def split_pair(seq2seq: Seq2Seq, ids: list[int]) -> tuple[str, str] | None:
    """Question and answer of a generated sequence; None unless exactly one separator parts them."""
    separator = seq2seq.special(SEP)
    if ids.count(separator) != 1:
        return None
    cut = ids.index(separator)
    question, answer = seq2seq.decode(ids[:cut]), seq2seq.decode(ids[cut + 1 :])
    return (question, answer) if question and answer else None


Kept = tuple[str, str, Hypothesis]
"""Question, answer and what they were read from."""


def keep_pairs(seq2seq: Seq2Seq, hypotheses: Sequence[Hypothesis], summary: str, wanted: int) -> list[Kept]:
    """The published filters: well-formed, answer in the summary, round-robin over answers.

    Pairs are taken best score first, one per distinct answer and round, until `wanted` are
    kept; the count is checked between rounds only, so a first round is always whole.
    """
    by_answer: dict[str, list[Kept]] = {}
    inside, seen = folded(summary), set()
    for hypothesis in sorted(hypotheses, key=lambda found: -found.score):
        parts = split_pair(seq2seq, hypothesis.ids)
        if parts is None or folded(parts[1]) not in inside or parts in seen:
            continue
        seen.add(parts)
        by_answer.setdefault(parts[1].lower(), []).append((*parts, hypothesis))
    kept: list[Kept] = []
    rounds = max(map(len, by_answer.values()), default=0)
    for index in range(rounds):
        if len(kept) >= wanted:
            break
        kept += [pairs[index] for pairs in by_answer.values() if index < len(pairs)]
    return kept


def quals(qagen: Seq2Seq, documents: Sequence[str], summaries: Sequence[str], settings: QualsSettings, name: str = "QUALS") -> list[Quals]:
    """Score each summary against its document; `name` is what the progress is called."""
    return list(quals_stream(qagen, paired(documents, summaries), settings, name))


def quals_stream(qagen: Seq2Seq, pairs: Iterable[Pair], settings: QualsSettings, name: str = "QUALS") -> Iterator[Quals]:
    """The verdict on each (document, summary) in order. Of `pairs`, which may be endless, few batches are held at once."""
    return stream(lambda part: quals_batch(qagen, part, settings), pairs, settings.batch_size, name)


def quals_batch(qagen: Seq2Seq, pairs: Sequence[Pair], settings: QualsSettings) -> list[Quals]:
    """The verdict on each (document, summary), all at once."""
    qagen.model.eval()
    troubles = [unfit(qagen, *pair, settings.pieces) for pair in pairs]
    fit = [pair for pair, why in zip(pairs, troubles, strict=True) if not why]
    verdicts = iter(_batch(qagen, fit, settings) if fit else ())
    return [Quals([], why) if why else next(verdicts) for why in troubles]


def _batch(qagen: Seq2Seq, pairs: Sequence[Pair], settings: QualsSettings) -> list[Quals]:
    said = qagen.sources([[summary] for _, summary in pairs])
    read = [qagen.pieces(document) for document, _ in pairs]
    found = diverse_beam_search(qagen, qagen.pad_batch(said), settings.groups, settings.strength, settings.min_length, settings.max_length)
    kept = [keep_pairs(qagen, line, summary, settings.pairs) for line, (_, summary) in zip(found, pairs, strict=True)]
    targets = [[[*hypothesis.ids, qagen.eos] for _, _, hypothesis in group] for group in kept]
    by_first = score_targets(qagen, [pieces[0] for pieces in read], targets)
    by_document = [_best(qagen, *item) if len(item[0]) > 1 else item[2] for item in zip(read, targets, by_first, strict=True)]
    by_summary = score_targets(qagen, said, targets)
    beam = settings.summary_side == "beam"
    verdicts = []
    for line, group, sides in zip(found, kept, zip(by_document, by_summary, strict=True), strict=True):
        asked = [_pair(qagen, *item, beam) for item in zip(group, *sides, strict=True)]
        finite = all(math.isfinite(hypothesis.score) for hypothesis in line) and all(math.isfinite(pair.difference) for pair in asked)
        verdicts.append(Quals(asked, "scored" if asked else "no_evidence") if finite else Quals([], NOT_FINITE))
    return verdicts


def _pair(qagen: Seq2Seq, kept: Kept, document: Likelihood, summary: Likelihood, beam: bool) -> QualsPair:
    question, answer, hypothesis = kept
    texts = [qagen.tokenizer.decode([token]) for token in (*hypothesis.ids, qagen.eos)]
    tokens = [Token(*item) for item in zip(texts, document.tokens, summary.tokens, strict=True)]
    given = hypothesis.score / len(tokens) if beam else summary.mean
    return QualsPair(question, answer, document.mean, given, tokens, hypothesis.ids.index(qagen.special(SEP)) + 1)


def _best(qagen: Seq2Seq, pieces: list[list[int]], targets: list[list[int]], by_first: list[Likelihood]) -> list[Likelihood]:
    """The likelihood of each target given the piece of its document that makes it most likely; of all, one that is no number."""
    by_piece = [by_first, *score_targets(qagen, pieces[1:], [targets] * (len(pieces) - 1))]
    return [max(found, key=lambda one: one.mean if math.isfinite(one.mean) else math.inf) for found in zip(*by_piece, strict=True)]


def ask(qagen: Seq2Seq, passages: Sequence[str], settings: QualsSettings) -> list[tuple[str, str]]:
    """The most likely question about each passage with its answer; two empty strings for none."""
    found = diverse_beam_search(
        qagen, qagen.pad_batch(qagen.sources([[text] for text in passages])),
        settings.groups, settings.strength, settings.min_length, settings.max_length,
    )  # fmt: skip
    kept = [keep_pairs(qagen, line, passage, 1) for line, passage in zip(found, passages, strict=True)]
    return [(pairs[0][0], pairs[0][1]) if pairs else ("", "") for pairs in kept]
