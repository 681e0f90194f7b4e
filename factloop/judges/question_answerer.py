"""A question answerer that may say that a text has no answer (Rajpurkar et al. 2018).

The encoder reads text, separator, question; words of the text that occur in the question are marked at its
input (the exact match of Chen et al. 2017), so that a small model need not learn to find them. The decoder
reads the question against the encoder's states, and heads on its last state point at the first and the last
token of the answer or at none: so a base from scratch answers with all its layers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..reader import Reader
from ..seq2seq import SEP, Seq2Seq
from ..settings import QuestionAnswererSettings
from ..training import Progress, fit
from .spans import TextWindow, one_piece

QUESTIONS = 2  # of one passage in a batch: each is read with the passage anew
TRIES = 20  # at a question that names only what the passage names, too


@dataclass(frozen=True)
class Answer:
    text: str | None
    """None: the text does not answer the question."""
    probability: float
    """Of the span given, or that there is none: the product of those of its first and last token."""


def new_answerer(base: Seq2Seq, seed: int) -> Reader:
    """Heads for what a mark adds to a token's embedding, and for what the decoder's last state looks for."""
    width = base.model.get_encoder().config.hidden_size
    return Reader.from_base(base, {"match": width, "first": width, "last": width, "none": 2}, seed)


def question_room(seq2seq: Seq2Seq) -> int:
    """The most tokens of a question, end token included."""
    return seq2seq.window.source // 4


def text_room(seq2seq: Seq2Seq) -> int:
    """The most tokens of a text beside a question and the separator."""
    return seq2seq.window.source - question_room(seq2seq) - 1


def _scores(reader: Reader, texts: Sequence[TextWindow], questions: Sequence[list[int]]) -> Tensor:
    """Log-probabilities [questions, first and last, 1 + length] of no answer, then of each token of the question's text."""
    seq2seq, heads = reader.seq2seq, reader.heads
    separator = seq2seq.special(SEP)
    source = seq2seq.pad_batch([[*text.ids[:-1], separator, *ids] for text, ids in zip(texts, questions, strict=True)])
    inside = torch.arange(source.shape[1], device=source.device) < torch.tensor([[len(t.offsets)] for t in texts], device=source.device)
    marked = (source[:, :, None] == seq2seq.pad_batch(questions)[:, None]).any(-1) & inside  # padding is not inside
    embedded, mask = seq2seq.model.get_input_embeddings()(source), (source != seq2seq.pad).long()
    embedded = embedded + marked[..., None] * heads["match"](embedded)
    states: Tensor = seq2seq.model.get_encoder()(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
    _, last = reader.against(states, source, questions)
    scores = reader.pointed(last, states).masked_fill(~inside[:, None], -torch.inf)
    return torch.cat([heads["none"](last)[..., None], scores], -1).float().log_softmax(-1)


@torch.inference_mode()
def answer(
    reader: Reader, texts: Sequence[Sequence[TextWindow]], questions: Sequence[Sequence[str]], longest: int, rows: int = 64
) -> list[list[Answer]]:
    """The answer to each of the questions of each text, of at most `longest` tokens, from the window that is surest of it.

    A window gives none where that is likelier than its best span; there is none only where all windows give none.
    Windows are of at most `text_room`; `rows` of them are read at once. A probability is not a number where the
    model's scores are not.
    """
    seq2seq = reader.seq2seq
    tasks = [
        (index, number, window, ids)
        for index, group in enumerate(questions)
        for number, ids in enumerate(seq2seq.ids([[text] for text in group], question_room(seq2seq)))
        for window in texts[index]
    ]
    tasks.sort(key=lambda task: len(task[2].ids) + len(task[3]))
    found: list[list[list[Answer]]] = [[[] for _ in group] for group in questions]
    for begin in range(0, len(tasks), rows):
        part = tasks[begin : begin + rows]
        logp = _scores(reader, [window for _, _, window, _ in part], [ids for _, _, _, ids in part])
        for (index, number, window, _), line in zip(part, _spans(logp, longest), strict=True):
            found[index][number].append(_read(window, *line))
    return [[max(options, key=_rank) for options in group] for group in found]


def _rank(found: Answer) -> tuple[bool, bool, float]:
    """Not a number before all, so that it is seen; then answers, by probability; then none."""
    return math.isnan(found.probability), found.text is not None, found.probability


def _spans(logp: Tensor, longest: int) -> list[tuple[float, float, int, int]]:
    """For each question: log-probability of no answer and of the best span, and the span's first and last token."""
    none = logp[:, :, 0].sum(1)
    first, last = logp[:, 0, 1:], logp[:, 1, 1:]
    allowed = torch.ones(first.shape[1], first.shape[1], dtype=torch.bool, device=logp.device).triu().tril(longest - 1)
    joint = (first[:, :, None] + last[:, None, :]).masked_fill(~allowed, -torch.inf).flatten(1)
    best, place = joint.max(1)
    width = first.shape[1]
    return [
        (*values, where // width, where % width)
        for values, where in zip(torch.stack([none, best], 1).tolist(), place.tolist(), strict=True)
    ]


def _read(window: TextWindow, none: float, best: float, first: int, last: int) -> Answer:
    if math.isnan(none) or math.isnan(best):
        return Answer(None, math.nan)
    text = window.span(first, last) if best > none else ""
    return Answer(text, math.exp(best)) if text else Answer(None, math.exp(none))


class ForeignQuestions:
    """Questions of other passages that a passage very likely does not answer, though it names all that they name."""

    def __init__(self, passages: Sequence[dict[str, Any]]) -> None:
        self.passages = passages
        self.places = [(index, number) for index, row in enumerate(passages) for number in range(len(row["questions"]))]
        self.naming: dict[str, list[tuple[int, int]]] = {}
        for place in self.places:
            for word in _named(self._question(place)):
                self.naming.setdefault(word, []).append(place)

    def _question(self, place: tuple[int, int]) -> str:
        question: str = self.passages[place[0]]["questions"][place[1]]["question"]
        return question

    def draw(self, index: int) -> str | None:
        """A question for passage `index`, by torch's random numbers; a question about anything where none is about what it names."""
        names = _named(" " + self.passages[index]["passage"])
        words = sorted(names & self.naming.keys())
        own = {item["question"] for item in self.passages[index]["questions"]}
        for attempt in range(2 * TRIES):
            about = words and attempt < TRIES
            places = self.naming[words[_below(len(words))]] if about else self.places
            place = places[_below(len(places))]
            question = self._question(place)
            if place[0] != index and question not in own and (not about or _named(question) <= names):
                return question
        return None


def _below(count: int) -> int:
    return int(torch.randint(count, ()))


def _named(text: str) -> set[str]:
    """Words with a capital or a digit, but for the first word."""
    return set(re.findall(r"(?<=\W)(?:[A-Z]\w*|\d\w*)", text))


def train_question_answerer(
    reader: Reader, passages: Sequence[dict[str, Any]], settings: QuestionAnswererSettings, seed: int, checkpoints: Path, progress: Progress
) -> list[dict[str, float]]:
    """Train in place on rows with `passage` and `questions` (question, answer: words of the passage).

    A batch counts passages. Of each one window is read, and `QUESTIONS` questions are asked of it; a share
    `settings.unanswerable` of them are foreign. An answer may stand in several places: the loss is minus the
    log of the probability of all of them (Clark and Gardner 2018).
    """
    seq2seq = reader.seq2seq
    foreign = ForeignQuestions(passages)
    asked = [[item for item in row["questions"] if item["answer"] in row["passage"]] for row in passages]
    examples = [index for index, items in enumerate(asked) if items]

    def loss(batch: list[int]) -> dict[str, Tensor]:
        read = one_piece(seq2seq, [passages[index]["passage"] for index in batch], text_room(seq2seq))
        rows: list[tuple[TextWindow, str, list[tuple[int, int]]]] = []
        for window, index in zip(read, batch, strict=True):
            for choice in torch.randperm(len(asked[index]))[:QUESTIONS].tolist():
                item = asked[index][choice]
                other = foreign.draw(index) if float(torch.rand(())) < settings.unanswerable else None
                rows.append((window, other, []) if other else (window, item["question"], window.find(item["answer"])))
        ids = seq2seq.ids([[question] for _, question, _ in rows], question_room(seq2seq))
        logp = _scores(reader, [window for window, _, _ in rows], ids)
        right = torch.zeros_like(logp, dtype=torch.bool)
        for number, (_, _, places) in enumerate(rows):
            right[number, :, 0] = not places
            for first, last in places:
                right[number, 0, 1 + first] = right[number, 1, 1 + last] = True
        return {"loss": -logp.masked_fill(~right, -torch.inf).logsumexp(-1).mean()}

    lengths = [len(passages[index]["passage"]) for index in examples]
    return fit(reader.whole, loss, examples, lengths, settings.training, seed, checkpoints, progress)
