"""QAGS (Wang et al. 2020): do a summary and its document answer the same questions alike?

Three models, each trained from any base: spans of the summary that could be answers, questions for
them, and a question answerer that may say that there is no answer. A question is kept where the answerer,
reading the summary, gives back the answer that it was written for; the score is the mean over questions
of the F1 between the answers from the summary and from the document. The published code fills up with
questions that failed its filters where too few pass; here they stay out, and a summary of which no
question passes has no score.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..decoding import diverse_beam_search
from ..reader import Reader
from ..seq2seq import Seq2Seq
from ..settings import QagsSettings
from .answer_extractor import Candidate, extract_answers, noun_phrases
from .answers import normalise, token_f1
from .question_answerer import Answer, answer, text_room
from .question_generator import sources
from .spans import TextWindow, pieces, tokenise
from .stream import Pair, paired, stream
from .unfit import illegible

LEAST_WORDS = 3  # of a question (published)


class QagsModels(NamedTuple):
    extractor: Reader
    generator: Seq2Seq
    answerer: Reader


@dataclass(frozen=True)
class QagsQuestion:
    question: str
    probability: float
    """Of the question by its generator: geometric mean over its tokens."""
    summary: str | None
    """The answer from the summary; None: none."""
    summary_probability: float
    document: str | None
    document_probability: float

    @property
    def f1(self) -> float:
        return token_f1(self.summary, self.document)


@dataclass(frozen=True)
class Qags:
    """The verdict on one summary, 0 to 1, higher is more consistent. Unless it is "scored" there are no scores."""

    questions: list[QagsQuestion] = field(default_factory=list)
    unfit: str = ""
    """Why the texts cannot be judged."""

    @property
    def status(self) -> str:
        return self.unfit or ("scored" if self.questions else "no_evidence")

    @property
    def mean(self) -> float | None:
        return sum(question.f1 for question in self.questions) / len(self.questions) if self.questions else None

    @property
    def worst(self) -> float | None:
        return min((question.f1 for question in self.questions), default=None)


class Written(NamedTuple):
    """A question of the generator, and the answer that it was written for."""

    question: str
    probability: float
    expected: str


def qags(models: QagsModels, documents: Sequence[str], summaries: Sequence[str], settings: QagsSettings, name: str = "QAGS") -> list[Qags]:
    """Score each summary against its document, in batches, with a status for each whatever the texts are."""
    return list(qags_stream(models, paired(documents, summaries), settings, name))


def qags_stream(models: QagsModels, pairs: Iterable[Pair], settings: QagsSettings, name: str = "QAGS") -> Iterator[Qags]:
    """The verdict on each (document, summary) in order. Of `pairs`, which may be endless, few batches are held at once."""
    return stream(lambda part: qags_batch(models, part, settings), pairs, settings.batch_size, name)


def qags_batch(models: QagsModels, pairs: Sequence[Pair], settings: QagsSettings) -> list[Qags]:
    """The verdict on each (document, summary), all at once."""
    for model in (models.extractor.seq2seq, models.generator, models.answerer.seq2seq):
        model.model.eval()
    documents, summaries = [document for document, _ in pairs], [summary for _, summary in pairs]
    result = [Qags(unfit=_unfit(models, *texts, settings)) for texts in zip(documents, summaries, strict=True)]
    fit = [index for index, verdict in enumerate(result) if not verdict.unfit]
    for index, found in zip(fit, ask(models, [summaries[index] for index in fit], settings), strict=True):
        result[index] = Qags(unfit=found) if isinstance(found, str) else Qags(found)
    asked = [index for index in fit if result[index].questions]
    reader = models.answerer.seq2seq
    read = [pieces(window, text_room(reader)) for window in tokenise(reader, [documents[index] for index in asked])]
    questions = [[one.question for one in result[index].questions] for index in asked]
    for index, answers in zip(asked, answer(models.answerer, read, questions, settings.answer_length), strict=True):
        both = zip(result[index].questions, answers, strict=True)
        whole = [replace(one, document=given.text, document_probability=given.probability) for one, given in both]
        broken = any(math.isnan(given.probability) for given in answers)
        result[index] = Qags(unfit=_not_a_number("question answerer")) if broken else Qags(whole)
    return result


def ask(models: QagsModels, summaries: Sequence[str], settings: QagsSettings) -> list[list[QagsQuestion] | str]:
    """The questions that each summary answers as expected, without the document's answers; or why there can be none.

    Likeliest first, at most `settings.questions`.
    """
    if not summaries:
        return []
    said = tokenise(models.extractor.seq2seq, summaries)
    if settings.spacy:
        candidates = noun_phrases(summaries, settings.spacy)
    else:
        candidates = extract_answers(models.extractor, said, settings.answer_floor, settings.answer_length)
    written = _write(models.generator, summaries, [_choose(line, settings) for line in candidates], settings)
    proper = [_proper(line, settings.question_mark) for line in written]
    given = answer(
        models.answerer,
        [[window] for window in tokenise(models.answerer.seq2seq, summaries)],
        [[one.question for one in line] for line in proper],
        settings.answer_length,
    )
    result: list[list[QagsQuestion] | str] = []
    for spans, line, questions, answers in zip(candidates, written, proper, given, strict=True):
        wrong = [
            name
            for name, numbers in (
                ("answer extractor", [span.probability for span in spans]),
                ("question generator", [one.probability for one in line]),
                ("question answerer", [one.probability for one in answers]),
            )
            if any(map(math.isnan, numbers))
        ]
        result.append(_not_a_number(wrong[0]) if wrong else keep(questions, answers, settings.questions))
    return result


def _not_a_number(model: str) -> str:
    return f"not finite: the {model} gave NaN or infinity"


def _choose(candidates: Sequence[Candidate], settings: QagsSettings) -> list[str]:
    """The likeliest answers; between equals the seed decides."""
    ranked = sorted(candidates, key=lambda one: (-one.probability, random.Random(f"{settings.seed} {one.text}").random()))
    return [one.text for one in ranked[: settings.answers]]


def _write(generator: Seq2Seq, summaries: Sequence[str], answers: Sequence[Sequence[str]], settings: QagsSettings) -> list[list[Written]]:
    """`settings.hypotheses` questions for each answer of each summary, by beam search."""
    pairs = [(index, text) for index, group in enumerate(answers) for text in group]
    coded = sources(generator, [(summaries[index], text) for index, text in pairs])
    order = sorted(range(len(pairs)), key=lambda position: len(coded[position]))
    result: list[list[Written]] = [[] for _ in summaries]
    for begin in range(0, len(order), settings.batch_size):
        part = order[begin : begin + settings.batch_size]
        # One group is plain beam search; the mean log-probability a token ranks its hypotheses.
        found = diverse_beam_search(
            generator, generator.pad_batch([coded[position] for position in part]), 1, 0.0, 1, settings.question_length,
            beams=settings.hypotheses, length_penalty=1.0,
        )  # fmt: skip
        for position, line in zip(part, found, strict=True):
            index, text = pairs[position]
            result[index] += [Written(generator.decode(one.ids), math.exp(one.score), text) for one in line]
    return result


def _proper(written: Sequence[Written], question_mark: bool) -> list[Written]:
    """What reads as a question, cut after its first "?", each for an answer once, likeliest first."""
    found: dict[tuple[str, str], Written] = {}
    for one in sorted(written, key=lambda one: (-one.probability, one.question, one.expected)):
        body, mark, _ = one.question.partition("?")
        if len(body.split()) >= LEAST_WORDS and (mark or not question_mark):
            found.setdefault((normalise(body), one.expected), one._replace(question=body + mark))
    return list(found.values())


def keep(written: Sequence[Written], answers: Sequence[Answer], wanted: int) -> list[QagsQuestion]:
    """The first `wanted` questions that the summary answers, and with the answer expected; none twice."""
    found: dict[str, QagsQuestion] = {}
    for one, given in zip(written, answers, strict=True):
        if given.text is not None and normalise(given.text) == normalise(one.expected):
            made = QagsQuestion(one.question, one.probability, given.text, given.probability, None, math.nan)
            found.setdefault(normalise(one.question), made)
    return list(found.values())[:wanted]


def _unfit(models: QagsModels, document: str, summary: str, settings: QagsSettings) -> str:
    """Why the texts cannot be judged: of a cut or an unread text the score would mean nothing."""
    for name, text in (("summary", summary), ("document", document)):
        if trouble := illegible(models.answerer.seq2seq, name, text):
            return trouble
    reader, generator = models.answerer.seq2seq, models.generator
    rooms = (
        (models.extractor.seq2seq, models.extractor.seq2seq.window.source - 1),
        (generator, generator.window.source - settings.answer_length - 2),  # the answer, its separator and the end
        (reader, text_room(reader)),
    )
    for model, room in rooms:
        if (count := len(tokenise(model, [summary])[0].offsets)) > room:
            return f"too long: summary of {count} tokens, the judge reads {room}"
    texts = dict(zip(("summary", "document"), tokenise(reader, [summary, document]), strict=True))
    if (count := len(pieces(texts["document"], room))) > settings.pieces:
        return f"too long: document of {count} windows of {room} tokens, the judge reads {settings.pieces}"
    for name, window in texts.items():
        if (strange := _strange(reader, window)) > len(window.offsets) / 2:
            return f"unreadable: {strange} of {len(window.offsets)} tokens of the {name} are unknown or parts of a character"
    return ""


def _strange(seq2seq: Seq2Seq, window: TextWindow) -> int:
    """Tokens that stand for no whole character, as those of scripts that the tokenizer was not made for."""
    shared = Counter(window.offsets)
    unknown = seq2seq.tokenizer.unk_token_id
    return sum(token == unknown or shared[place] > 1 for token, place in zip(window.ids, window.offsets, strict=False))
