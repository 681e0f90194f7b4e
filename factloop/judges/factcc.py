"""FactCC (Kryscinski et al. 2020): is a sentence of a summary consistent with its document?

The encoder reads document, separator, sentence, and the decoder the sentence against its states. One
head says CORRECT (0) or INCORRECT (1), the others, as in FactCCX, where the words of the document
begin and end that decide it, and where the wrong words of the sentence do. It learns from claims
made by rules (`factloop.claims`).

The published model is an encoder that reads the label off its first token. Here the decoder reads
too, as BART classifies (Lewis et al. 2020): one that has learned to write about a document knows
already what it bears out, where an encoder of two layers learned it of relations, which no claim is
about, by chance (docs/judges.md). A sentence is wrong where any token of it is: the logit of INCORRECT
is the log-sum-exp of what the states of its tokens say, beside that of CORRECT from its end.

A document longer than the window is read in overlapping pieces, and each sentence of the summary
takes the piece that speaks for it most (highest probability of CORRECT): one piece that does not
mention a thing proves nothing against it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..claims.mentions import Span, sentences
from ..reader import Reader
from ..seq2seq import SEP, Seq2Seq
from ..settings import FactccSettings, TrainingSettings
from ..training import Progress, fit
from .spans import TextWindow, cut, pieces, tokenise
from .stream import Pair, paired, stream
from .unfit import NOT_FINITE, illegible, unread

LABELS = ("CORRECT", "INCORRECT")
# Of the mean of the span losses beside the label's. Published: 0.1, for BERT; a small encoder learns
# to compare from the spans, and with 0.1 had learned little of it after as many steps.
SPAN_WEIGHT = 1.0
UNKNOWN = (-100, -100)
SCORED = "scored"


@dataclass(frozen=True)
class Sentence:
    """One sentence of a summary with its verdict. Spans are characters, begin and end."""

    text: str
    correct: float
    """Probability of CORRECT, 0 to 1."""
    source: Span
    """What in the document decides it: where it is wrong, what stands there instead; else the sentence that bears it out."""
    claim: Span
    """What in the sentence is wrong, if anything is."""


@dataclass(frozen=True)
class FactCC:
    """The verdict on one summary. Without sentences there are no scores, and `status` says why."""

    sentences: list[Sentence]
    status: str = SCORED

    @property
    def mean(self) -> float | None:
        return sum(sentence.correct for sentence in self.sentences) / len(self.sentences) if self.sentences else None

    @property
    def worst(self) -> float | None:
        return min((sentence.correct for sentence in self.sentences), default=None)


@dataclass(frozen=True)
class _Input:
    """Document (or a piece of it), separator, claim, end token, as ids."""

    ids: list[int]
    document: int
    """Tokens of the document, so the place of the separator."""


def _input(model: Seq2Seq, document: TextWindow, claim: TextWindow) -> _Input:
    return _Input([*document.ids[:-1], model.special(SEP), *claim.ids], len(document.offsets))


def _room(model: Seq2Seq, claim: TextWindow) -> int:
    """Tokens of a document that fit beside a claim, separator and end token."""
    return model.window.source - len(claim.ids) - 1


def longest_claim(model: Seq2Seq) -> int:
    """The most tokens of a sentence that is judged: half the window, so that the document keeps the other half."""
    return model.window.source // 2 - 2


class OtherFactcc(ValueError):
    """A model that this code cannot read; the message says how to have one that it can."""


def new_factcc(base: Seq2Seq, seed: int) -> Reader:
    """Heads for labels, for begin and end of what is wrong in a claim, and for where the claim's last state points in the document."""
    width = base.model.get_encoder().config.hidden_size
    return Reader.from_base(base, {"label": 2, "claim": 2, "first": width, "last": width}, seed)


def load_factcc(folder: Path | str, device: str = "cpu") -> Reader:
    """One that `save` wrote; OtherFactcc where it was before the decoder read."""
    reader = Reader.load(folder, device)
    if "first" not in reader.heads:
        raise OtherFactcc(
            "the FactCC in use was trained by an earlier Factloop, whose encoder judged alone: `python -m flows.train_judges "
            "--profile <profile> --replace` trains judges anew (their scores do not compare with earlier ones)"
        )
    return reader


def _scores(reader: Reader, inputs: Sequence[_Input]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of the labels [batch, 2], and of being begin and end of a span for each token of the documents and, after the
    decoder's start token, of the claims [batch, length, 2].
    """
    source = reader.seq2seq.pad_batch([item.ids for item in inputs])
    states = reader.seq2seq.encode(source)
    read, last = reader.against(states, source, [item.ids[item.document + 1 :] for item in inputs])
    label, claim = reader.heads["label"](read).float(), reader.heads["claim"](read).float()
    document = reader.pointed(last, states).float().transpose(1, 2)
    place = torch.arange(claim.shape[1], device=source.device)
    of_claim = (place > 0) & (place < torch.tensor([[len(item.ids) - item.document - 1] for item in inputs], device=source.device))
    of_document = torch.arange(source.shape[1], device=source.device) < torch.tensor([[i.document] for i in inputs], device=source.device)
    lowest = torch.finfo(torch.float32).min
    wrong = label[..., 1].masked_fill(~of_claim, lowest).logsumexp(1)
    labels = torch.stack([reader.heads["label"](last).float()[:, 0], wrong], 1)
    return labels, document.masked_fill(~of_document[..., None], lowest), claim.masked_fill(~of_claim[..., None], lowest)


def train_factcc(
    reader: Reader, documents: Iterable[dict[str, Any]], settings: TrainingSettings, seed: int, checkpoints: Path, progress: Progress
) -> list[dict[str, float]]:
    """Train `reader` (of `new_factcc`) in place on rows with `document` and `claims`, and return the curve.

    A span that is not known, as that of the error of a right claim, has no part in the loss.
    """
    examples = [example for row in documents for example in _examples(reader.seq2seq, row)]

    def loss(batch: list[tuple[_Input, int, list[int]]]) -> dict[str, Tensor]:
        label, *spans = _scores(reader, [item for item, _, _ in batch])
        wanted = torch.tensor([target for _, target, _ in batch], device=label.device)
        places = torch.tensor([target for _, _, target in batch], device=label.device)
        of_label = nn.functional.cross_entropy(label, wanted, label_smoothing=settings.label_smoothing)
        lost = [nn.functional.cross_entropy(scores, part, reduction="sum") for scores, part in zip(spans, places.split(2, 1), strict=True)]
        of_spans = (lost[0] + lost[1]) / (places >= 0).sum().clamp(min=1)
        right = (label.argmax(1) == wanted).float().mean()
        return {"loss": of_label + SPAN_WEIGHT * of_spans, "label_loss": of_label, "span_loss": of_spans, "accuracy": right}

    return fit(reader.whole, loss, examples, [len(item.ids) for item, _, _ in examples], settings, seed, checkpoints, progress)


def _examples(model: Seq2Seq, row: dict[str, Any]) -> Iterator[tuple[_Input, int, list[int]]]:
    """Each claim with its label and four token places: begin and end in the document, and after the start token in the claim; -100
    where unknown.
    """
    document, *claims = tokenise(model, [row["document"], *(claim["claim"] for claim in row["claims"])])
    for claim, coded in zip(row["claims"], claims, strict=True):
        if not 0 < len(coded.offsets) <= longest_claim(model):
            continue
        room = _room(model, coded)
        known = document.touched(claim["source"]) if claim["source"] else None
        begin, end = known or (0, len(document.offsets) - 1)
        # Of a long document the piece around what the claim is about, or its middle.
        start = max(0, min((begin + end - room) // 2, len(document.offsets) - room))
        item = _input(model, cut(document, start, start + room), coded)
        source = (begin - start, end - start) if known and start <= begin and end < start + room else UNKNOWN
        error = coded.touched(claim["error"]) if claim["error"] else None
        yield item, LABELS.index(claim["label"]), [*source, *((error[0] + 1, error[1] + 1) if error else UNKNOWN)]


@dataclass(frozen=True)
class _Question:
    """A sentence of an example beside a piece of its document."""

    example: int
    sentence: int
    piece: TextWindow
    item: _Input


def factcc(
    reader: Reader, documents: Sequence[str], summaries: Sequence[str], settings: FactccSettings, name: str = "FactCC"
) -> list[FactCC]:
    """Judge each summary against its document, sentence by sentence (`claims.sentences`)."""
    return list(factcc_stream(reader, paired(documents, summaries), settings, name))


def factcc_stream(reader: Reader, pairs: Iterable[Pair], settings: FactccSettings, name: str = "FactCC") -> Iterator[FactCC]:
    """The verdict on each (document, summary) in order. Of `pairs`, which may be endless, few batches are held at once."""
    return stream(lambda part: factcc_batch(reader, part, settings), pairs, settings.batch_size, name)


@torch.no_grad()
def factcc_batch(reader: Reader, pairs: Sequence[Pair], settings: FactccSettings) -> list[FactCC]:
    """The verdict on each (document, summary); `settings.batch_size` of their sentences are read at once."""
    model = reader.seq2seq
    reader.whole.eval()
    troubles = [illegible(model, "summary", summary) or illegible(model, "document", document) for document, summary in pairs]
    read = tokenise(model, ["" if bad else document for bad, (document, _) in zip(troubles, pairs, strict=True)])
    said = [
        tokenise(model, [summary[slice(*span)] for span in ([] if bad else sentences(summary))])
        for bad, (_, summary) in zip(troubles, pairs, strict=True)
    ]
    statuses = [bad or _status(model, document, claims, settings) for bad, document, claims in zip(troubles, read, said, strict=True)]
    questions = [
        _Question(example, place, piece, _input(model, piece, claim))
        for example, status in enumerate(statuses)
        for place, claim in enumerate(said[example] if status == SCORED else ())
        for piece in pieces(read[example], _room(model, claim))
    ]
    questions.sort(key=lambda question: len(question.item.ids))
    best: dict[tuple[int, int], Sentence] = {}
    for begin in range(0, len(questions), settings.batch_size):
        part = questions[begin : begin + settings.batch_size]
        labels, *spans = _scores(reader, [question.item for question in part])
        for question, chance, of_document, of_claim in zip(part, labels.softmax(1)[:, 0].tolist(), *spans, strict=True):
            example, claim = question.example, said[question.example][question.sentence]
            if not math.isfinite(chance):
                statuses[example] = NOT_FINITE
                continue
            found = best.get((example, question.sentence))
            if found is None or chance > found.correct:
                where = _span(of_document, question.piece, 0), _span(of_claim, claim, 1)
                best[example, question.sentence] = Sentence(claim.text, chance, *where)
    return [
        FactCC([best[example, place] for place in range(len(said[example]))] if status == SCORED else [], status)
        for example, status in enumerate(statuses)
    ]


def _span(scores: Tensor, window: TextWindow, start: int) -> Span:
    """The characters from the likeliest first token to the likeliest last one not before it, of scores [length, 2].

    `start` is the place of the window's first token among the scores.
    """
    begin = int(scores[:, 0].argmax())
    end = begin + int(scores[begin:, 1].argmax())
    first, last = window.offsets[begin - start][0], window.offsets[end - start][1]
    text = window.text[first:last]
    return first + len(text) - len(text.lstrip()), last


def _status(model: Seq2Seq, document: TextWindow, claims: Sequence[TextWindow], settings: FactccSettings) -> str:
    """Why a summary cannot be judged, else "scored"."""
    longest = max(claims, key=lambda claim: len(claim.ids))
    if (count := len(longest.offsets)) > (most := longest_claim(model)):
        return f"too long: sentence of {count} tokens, the judge reads {most}"
    if (count := len(pieces(document, _room(model, longest)))) > settings.pieces:
        return f"too long: document of {count} pieces, the judge reads {settings.pieces}"
    said = [token for claim in claims for token in claim.ids[:-1]]
    return unread(model, "summary", said) or unread(model, "document", document.ids[:-1]) or SCORED
