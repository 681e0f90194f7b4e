"""FactCC (Kryscinski et al. 2020): is a sentence of a summary consistent with its document?

An encoder reads document, separator, sentence. A head says CORRECT (0) or INCORRECT (1); four
more, as in FactCCX, say where the sentence of the document begins and ends that it is about, and
where the wrong words of the summary do. It learns from claims made by rules (`factloop.claims`).

A document longer than the window is read in overlapping pieces, and each sentence of the summary
takes the piece that speaks for it most (highest probability of CORRECT): one piece that does not
mention a thing proves nothing against it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..claims.mentions import Span, sentences
from ..reader import Reader
from ..seq2seq import SEP, Seq2Seq
from ..settings import FactccSettings, TrainingSettings
from ..training import Progress, fit

LABELS = ("CORRECT", "INCORRECT")
HEADS = {"label": 2, "source": 2, "claim": 2}
"""Outputs a token: the labels, and for both spans begin and end."""
SPAN_WEIGHT = float(os.environ.get("SPANW", "0.1"))  # of the mean of the four span losses beside the label's (published)
POOL = os.environ.get("POOL", "sep")


@dataclass(frozen=True)
class Sentence:
    """One sentence of a summary with its verdict. Spans are characters, begin and end."""

    text: str
    correct: float
    """Probability of CORRECT, 0 to 1."""
    source: Span
    """What in the document it was judged by."""
    claim: Span
    """What in the sentence is wrong, if anything is."""


@dataclass(frozen=True)
class FactCC:
    """The verdict on one summary. Without sentences there are no scores, and `status` says why."""

    sentences: list[Sentence]
    status: str = "scored"

    @property
    def mean(self) -> float | None:
        return sum(sentence.correct for sentence in self.sentences) / len(self.sentences) if self.sentences else None

    @property
    def worst(self) -> float | None:
        return min((sentence.correct for sentence in self.sentences), default=None)


@dataclass(frozen=True)
class _Coded:
    """Token ids of a text, and where in it each token is."""

    ids: list[int]
    offsets: list[Span]

    def tokens(self, span: Span) -> Span | None:
        """The first and the last token that touch a span of characters."""
        touched = [index for index, (begin, end) in enumerate(self.offsets) if begin < span[1] and span[0] < end]
        return (touched[0], touched[-1]) if touched else None


@dataclass(frozen=True)
class _Input:
    """Document (or a piece of it), separator, claim, end token, as ids."""

    ids: list[int]
    document: int
    """Tokens of the document, so the place of the separator."""


def _code(model: Seq2Seq, texts: Sequence[str]) -> list[_Coded]:
    if not texts:
        return []
    found = model.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    return [_Coded(ids, [tuple(pair) for pair in pairs]) for ids, pairs in zip(found["input_ids"], found["offset_mapping"], strict=True)]


def _input(model: Seq2Seq, document: list[int], claim: list[int]) -> _Input:
    return _Input([*document, model.special(SEP), *claim, model.eos], len(document))


def _room(model: Seq2Seq, claim: int) -> int:
    """Tokens of a document that fit beside so many of a claim, separator and end token."""
    return model.window.source - claim - 2


def longest_claim(model: Seq2Seq) -> int:
    """The most tokens of a sentence that is judged: half the window, so that the document keeps the other half."""
    return model.window.source // 2 - 2


def _scores(reader: Reader, inputs: Sequence[_Input]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits: of the labels [batch, 2], of begin and end over the document's and over the claim's tokens [batch, length, 2]."""
    source = reader.seq2seq.pad_batch([item.ids for item in inputs])
    heads = reader(source)
    place = torch.arange(source.shape[1], device=source.device)[None]
    cut = torch.tensor([item.document for item in inputs], device=source.device)[:, None]
    last = torch.tensor([len(item.ids) - 1 for item in inputs], device=source.device)[:, None]
    of_document, of_claim = place < cut, (place > cut) & (place < last)
    rows = torch.arange(len(inputs))
    if POOL == "sep":
        label = heads["label"][rows, cut[:, 0]]
    elif POOL == "end":
        label = heads["label"][rows, last[:, 0]]
    elif POOL == "mean":
        label = (heads["label"] * of_claim[..., None]).sum(1) / of_claim.sum(1)[:, None]
    else:
        label = heads["label"].masked_fill(~of_claim[..., None], -1e9).logsumexp(1)
        label = torch.stack([heads["label"][rows, cut[:, 0], 0], label[:, 1]], 1)
    lowest = torch.finfo(heads["source"].dtype).min
    return (
        label,
        heads["source"].masked_fill(~of_document[..., None], lowest),
        heads["claim"].masked_fill(~of_claim[..., None], lowest),
    )


def train_factcc(
    reader: Reader, documents: Iterable[dict[str, Any]], settings: TrainingSettings, seed: int, checkpoints: Path, progress: Progress
) -> list[dict[str, float]]:
    """Train `reader` (with `HEADS`) in place on rows with `document` and `claims`, and return the curve.

    The loss is the label's cross-entropy and a tenth of the mean of the four spans'; a claim whose
    span is not known has no part in that span's.
    """
    examples = [example for row in documents for example in _examples(reader.seq2seq, row)]

    def loss(batch: list[tuple[_Input, int, list[int]]]) -> dict[str, Tensor]:
        label, *spans = _scores(reader, [item for item, _, _ in batch])
        wanted = torch.tensor([target for _, target, _ in batch], device=label.device)
        places = torch.tensor([target for _, _, target in batch], device=label.device)
        logits = torch.cat(spans, 2).float()
        found = nn.functional.cross_entropy(logits.flatten(0, 1).view(*logits.shape).transpose(1, 2).flatten(0, 1), places.flatten(), reduction="none")
        known = (places >= 0).flatten().float()
        span = (found * known).sum() / known.sum().clamp(min=1)
        labels = nn.functional.cross_entropy(label.float(), wanted, label_smoothing=settings.label_smoothing)
        right = (label.argmax(1) == wanted).float().mean()
        return {"loss": labels + SPAN_WEIGHT * span, "label_loss": labels, "span_loss": span, "accuracy": right}

    return fit(reader.trained, loss, examples, [len(item.ids) for item, _, _ in examples], settings, seed, checkpoints, progress)


def _examples(model: Seq2Seq, row: dict[str, Any]) -> Iterable[tuple[_Input, int, list[int]]]:
    """Each claim with its label and four token places: begin and end in the document and in the claim, -100 where unknown."""
    document, *claims = _code(model, [row["document"], *(claim["claim"] for claim in row["claims"])])
    for claim, coded in zip(row["claims"], claims, strict=True):
        if not coded.ids or len(coded.ids) > longest_claim(model):
            continue
        room = _room(model, len(coded.ids))
        source = document.tokens(claim["source"])
        error = coded.tokens(claim["error"]) if claim["error"] else None
        # Of a long document the piece around the sentence that the claim is about.
        middle = sum(source) // 2 if source else 0
        start = max(0, min(middle - room // 2, len(document.ids) - room))
        item = _input(model, document.ids[start : start + room], coded.ids)
        inside = source is not None and source[0] >= start and source[1] < start + room
        places = [source[0] - start, source[1] - start] if source and inside else [-100, -100]
        places += [item.document + 1 + error[0], item.document + 1 + error[1]] if error else [-100, -100]
        yield item, LABELS.index(claim["label"]), places


@torch.no_grad()
def factcc(reader: Reader, documents: Sequence[str], summaries: Sequence[str], settings: FactccSettings, name: str = "FactCC") -> list[FactCC]:
    """Judge each summary against its document, sentence by sentence (`mentions.sentences`).

    Raises ValueError, naming the example, where the model answers with no number.
    """
    if len(documents) != len(summaries):
        raise ValueError(f"{len(documents)} documents but {len(summaries)} summaries")
    model = reader.seq2seq
    reader.trained.eval()
    verdicts: list[FactCC] = []
    asked: list[tuple[int, str, int, _Input]] = []  # example and its sentence, where the piece begins, what is read
    read: list[_Coded] = []
    spoken: dict[tuple[int, str], _Coded] = {}
    for index, (document, summary) in enumerate(zip(documents, summaries, strict=True)):
        read += _code(model, [document])
        said = [summary[begin:end] for begin, end in sentences(summary)]
        coded = _code(model, said)
        verdicts.append(FactCC([], _status(model, read[-1], coded, summary, settings)))
        if verdicts[-1].status == "scored":
            for text, claim in zip(said, coded, strict=True):
                spoken[index, text] = claim
                asked += [(index, text, start, item) for start, item in _pieces(model, read[-1], claim)]
    best: dict[tuple[int, str], Sentence] = {}
    order = sorted(range(len(asked)), key=lambda place: len(asked[place][3].ids))
    for begin in tqdm(range(0, len(order), settings.batch_size), desc=name, mininterval=5, unit="batch"):
        part = [asked[place] for place in order[begin : begin + settings.batch_size]]
        label, source, claim = _scores(reader, [item for _, _, _, item in part])
        for (index, text, start, item), chance, of_document, of_claim in zip(
            part, label.float().softmax(1)[:, 0].tolist(), source.float(), claim.float(), strict=True
        ):
            if not 0 <= chance <= 1:
                raise ValueError(f"{name}: example {index + 1}: the model's answer is {chance} for the sentence {text[:200]!r}")
            if (found := best.get((index, text))) is None or chance > found.correct:
                best[index, text] = Sentence(
                    text, chance, _span(of_document, documents[index], read[index], -start), _span(of_claim, text, spoken[index, text], item.document + 1)
                )
    return [
        FactCC([best[index, text] for text in [summary[begin:end] for begin, end in sentences(summary)]]) if verdict.status == "scored" else verdict
        for index, (summary, verdict) in enumerate(zip(summaries, verdicts, strict=True))
    ]


def _span(scores: Tensor, text: str, coded: _Coded, offset: int) -> Span:
    """The characters from the likeliest first token to the likeliest last one not before it, of scores [length, 2]."""
    begin = int(scores[:, 0].argmax())
    end = begin + int(scores[begin:, 1].argmax())
    first, last = coded.offsets[begin - offset][0], coded.offsets[end - offset][1]
    return first + len(text[first:last]) - len(text[first:last].lstrip()), last


def _pieces(model: Seq2Seq, document: _Coded, claim: _Coded) -> Iterable[tuple[int, _Input]]:
    """The document in pieces that fit beside the claim, a quarter shared with the next, and where each begins."""
    room = _room(model, len(claim.ids))
    for start in range(0, max(1, len(document.ids) - room // 4), room - room // 4):
        yield start, _input(model, document.ids[start : start + room], claim.ids)


def _status(model: Seq2Seq, document: _Coded, claims: Sequence[_Coded], summary: str, settings: FactccSettings) -> str:
    """Why a summary cannot be judged, else "scored"."""
    if not claims:
        return "empty: the summary has no words" if not summary.strip() else "no words: the summary is punctuation"
    if not document.ids:
        return "empty: the document has no words"
    longest = max(len(claim.ids) for claim in claims)
    if longest > (most := longest_claim(model)):
        return f"too long: sentence of {longest} tokens, the judge reads {most}"
    room = _room(model, longest)
    pieces = len(range(0, max(1, len(document.ids) - room // 4), room - room // 4))
    if pieces > settings.pieces:
        return f"too long: document of {pieces} pieces, the judge reads {settings.pieces}"
    return "scored"
