"""A question answerer that may say that a text has no answer (Rajpurkar et al. 2018).

The encoder reads a text once, however many questions there are about it; the decoder reads each
question against the encoder's states, and heads on its last state point at the first and the last
token of the answer (a pointer, Vinyals et al. 2015) or at none. So a base from scratch answers with
all its layers, and the cost of a long document does not grow with the questions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..reader import Reader
from ..seq2seq import Seq2Seq
from ..settings import QuestionAnswererSettings
from ..training import Progress, fit, likelihood
from .spans import TextWindow, one_piece

Task = TypeVar("Task")
QUESTIONS = 4  # of one passage in a batch, as for QAGen
TRIES = 20  # at a question that names only what the passage names, too


@dataclass(frozen=True)
class Answer:
    text: str | None
    """None: the text does not answer the question."""
    probability: float
    """Of the span given, or that there is none: the product of those of its first and last token."""


def new_answerer(base: Seq2Seq, seed: int) -> Reader:
    """Heads that make, of a question's last decoder state, what the tokens' states are compared with."""
    width = base.model.get_encoder().config.hidden_size
    return Reader.from_base(base, {"first": width, "last": width, "none": 2}, seed)


def _ask(seq2seq: Seq2Seq, states: Tensor, mask: Tensor, questions: Sequence[list[int]]) -> Tensor:
    """Decoder states [questions, 1 + length, width] of the start token and each question, over the states of its text."""
    asked = seq2seq.pad_batch([[seq2seq.start, *ids] for ids in questions])
    decoder: nn.Module = seq2seq.model.get_decoder().base_model
    given = torch.arange(asked.shape[1], device=asked.device) <= torch.tensor([[len(ids)] for ids in questions], device=asked.device)
    out: Tensor = decoder(
        input_ids=asked, attention_mask=given.long(), encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False
    ).last_hidden_state
    return out


def _point(reader: Reader, states: Tensor, mask: Tensor, asked: Tensor, questions: Sequence[list[int]]) -> Tensor:
    """Log-probabilities [questions, first and last, 1 + length]: of no answer, then of each token of the text.

    `states` and `mask` are of the text of each question, `asked` what `_ask` gives. The end token is never pointed at.
    """
    last = asked[torch.arange(len(questions), device=asked.device), [len(ids) for ids in questions]]
    pointers = torch.stack([reader.heads["first"](last), reader.heads["last"](last)], 1)
    scores = pointers @ states.transpose(1, 2) / math.sqrt(states.shape[-1])
    text = mask.bool() & (mask.cumsum(1) < mask.sum(1, keepdim=True))
    scores = scores.masked_fill(~text[:, None], -torch.inf)
    return torch.cat([reader.heads["none"](last)[..., None], scores], -1).float().log_softmax(-1)


@torch.inference_mode()
def answer(
    reader: Reader, texts: Sequence[Sequence[TextWindow]], questions: Sequence[Sequence[str]], longest: int, rows: int = 256
) -> list[list[Answer]]:
    """The answer to each of the questions of each text, of at most `longest` tokens, from the window that is surest of it.

    A window whose likeliest answer is "none" gives none; there is none only where all windows give none.
    At most `rows` questions go through the decoder at once. A probability is not a number where the model's scores are not.
    """
    seq2seq = reader.seq2seq
    coded = [seq2seq.targets([[text] for text in group]) for group in questions]
    tasks = [(index, window) for index, group in enumerate(texts) if questions[index] for window in group]
    tasks.sort(key=lambda task: len(task[1].ids))
    found: list[list[list[Answer]]] = [[[] for _ in group] for group in questions]
    for part in _parts(tasks, [len(questions[index]) for index, _ in tasks], rows):
        source = seq2seq.pad_batch([window.ids for _, window in part])
        flat = [(row, index, number) for row, (index, _) in enumerate(part) for number in range(len(coded[index]))]
        owner = torch.tensor([row for row, _, _ in flat], device=source.device)
        states, mask = seq2seq.encode(source)[owner], (source != seq2seq.pad).long()[owner]
        ids = [coded[index][number] for _, index, number in flat]
        logp = _point(reader, states, mask, _ask(seq2seq, states, mask, ids), ids)
        for (row, index, number), line in zip(flat, _spans(logp, longest), strict=True):
            found[index][number].append(_read(part[row][1], *line))
    return [[max(options, key=_rank) for options in group] for group in found]


def _parts(tasks: Sequence[Task], sizes: Sequence[int], most: int) -> Iterator[list[Task]]:
    """`tasks` in order, in parts whose sizes sum to at most `most`; a larger one is alone."""
    part: list[Task] = []
    room = most
    for task, size in zip(tasks, sizes, strict=True):
        if part and size > room:
            yield part
            part, room = [], most
        part.append(task)
        room -= size
    if part:
        yield part


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
        self.naming: dict[str, list[tuple[int, int]]] = {}
        for index, row in enumerate(passages):
            for number, item in enumerate(row["questions"]):
                for word in _named(item["question"]):
                    self.naming.setdefault(word, []).append((index, number))

    def draw(self, index: int) -> str | None:
        """A question for passage `index`, by torch's random numbers; a question about anything where none is about what it names."""
        names = _named(" " + self.passages[index]["passage"])
        words = sorted(names & self.naming.keys())
        own = {item["question"] for item in self.passages[index]["questions"]}
        for attempt in range(2 * TRIES):
            if words and attempt < TRIES:
                places = self.naming[words[_below(len(words))]]
                owner, number = places[_below(len(places))]
            else:
                owner = _below(len(self.passages))
                number = _below(max(1, len(self.passages[owner]["questions"])))
            if number >= len(self.passages[owner]["questions"]):
                continue
            question: str = self.passages[owner]["questions"][number]["question"]
            if owner != index and question not in own and (attempt >= TRIES or _named(question) <= names):
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

    A batch counts passages. Of each one window is read, and up to `QUESTIONS` questions are asked of it;
    a share `settings.unanswerable` of them are foreign. An answer may stand in several places: the loss is
    minus the log of the probability of all of them (Clark and Gardner 2018). Beside it the decoder learns to write
    the questions that have an answer: which words a question may go on with is what the text says of whom, and a small
    model learns that sooner from every word than from answers alone.
    """
    seq2seq = reader.seq2seq
    foreign = ForeignQuestions(passages)
    asked = [[item for item in row["questions"] if item["answer"] in row["passage"]] for row in passages]
    examples = [index for index, items in enumerate(asked) if items]

    def loss(batch: list[int]) -> dict[str, Tensor]:
        read = one_piece(seq2seq, [passages[index]["passage"] for index in batch])
        rows: list[tuple[int, str, list[tuple[int, int]]]] = []
        for row, index in enumerate(batch):
            for choice in torch.randperm(len(asked[index]))[:QUESTIONS].tolist():
                item = asked[index][choice]
                other = foreign.draw(index) if float(torch.rand(())) < settings.unanswerable else None
                rows.append((row, other, []) if other else (row, item["question"], read[row].find(item["answer"])))
        source = seq2seq.pad_batch([window.ids for window in read])
        owner = torch.tensor([row for row, _, _ in rows], device=source.device)
        states, mask = seq2seq.encode(source)[owner], (source != seq2seq.pad).long()[owner]
        ids = seq2seq.targets([[question] for _, question, _ in rows])
        asked_states = _ask(seq2seq, states, mask, ids)
        logp = _point(reader, states, mask, asked_states, ids)
        right = torch.zeros_like(logp, dtype=torch.bool)
        for number, (_, _, places) in enumerate(rows):
            if not places:
                right[number, :, 0] = True
            for place in places:
                for side in (0, 1):
                    right[number, side, 1 + place[side]] = True
        answers = -logp.masked_fill(~right, -torch.inf).logsumexp(-1).mean()
        own = seq2seq.pad_batch([line if places else [seq2seq.pad] * len(line) for line, (_, _, places) in zip(ids, rows, strict=True)])
        questions = likelihood(seq2seq.model.get_output_embeddings()(asked_states[:, :-1]), own, seq2seq.pad)
        return {"loss": answers + questions, "answer_loss": answers, "question_loss": questions}

    trained = nn.ModuleDict({"model": seq2seq.model, "heads": reader.heads})
    return fit(
        trained, loss, examples, [len(passages[index]["passage"]) for index in examples], settings.training, seed, checkpoints, progress
    )
