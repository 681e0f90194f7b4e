"""QUALS written out plainly and QAGS as published, one example at a time: what `judge_speed` compares with."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence

import torch

from factloop.decoding import Hypothesis, diverse_beam_search
from factloop.judges.answer_extractor import extract_answers
from factloop.judges.answers import normalise, token_f1
from factloop.judges.qags import QagsModels
from factloop.judges.quals import Kept, Quals, QualsPair, Token, keep_pairs
from factloop.judges.question_answerer import answer, text_room
from factloop.judges.question_generator import sources
from factloop.judges.spans import pieces, tokenise
from factloop.reader import Reader
from factloop.seq2seq import SEP, Seq2Seq
from factloop.settings import QualsSettings

Keep = Callable[[Seq2Seq, Sequence[Hypothesis], str, int], list[Kept]]


def every_hypothesis(seq2seq: Seq2Seq, hypotheses: Sequence[Hypothesis], summary: str, wanted: int) -> list[Kept]:
    """In place of the filters: as many pairs as groups, whatever the model is worth."""
    separator = seq2seq.special(SEP)
    return [("", "", found if separator in found.ids else Hypothesis([*found.ids, separator], found.score)) for found in hypotheses]


@torch.inference_mode()
def likelihoods(model: Seq2Seq, source: list[int], target: list[int]) -> list[float]:
    logits = model.logits(model.pad_batch([source]), model.pad_batch([target]))
    given: list[float] = logits.log_softmax(-1)[0, torch.arange(len(target)), target].tolist()
    return given


def plain_quals(
    model: Seq2Seq, documents: Sequence[str], summaries: Sequence[str], settings: QualsSettings, keep: Keep = keep_pairs
) -> list[Quals]:
    result = []
    for document, summary in zip(documents, summaries, strict=True):
        (said,), (read,) = model.sources([[summary]]), model.sources([[document]])
        (found,) = diverse_beam_search(
            model, model.pad_batch([said]), settings.groups, settings.strength, settings.min_length, settings.max_length
        )
        pairs = []
        for question, reply, hypothesis in keep(model, found, summary, settings.pairs):
            target = [*hypothesis.ids, model.eos]
            sides = [likelihoods(model, source, target) for source in (read, said)]
            tokens = [Token(model.tokenizer.decode([token]), *given) for token, *given in zip(target, *sides, strict=True)]
            cut = hypothesis.ids.index(model.special(SEP)) + 1
            pairs.append(QualsPair(question, reply, statistics.fmean(sides[0]), statistics.fmean(sides[1]), tokens, cut))
        result.append(Quals(pairs, "scored" if pairs else "no_evidence"))
    return result


@torch.inference_mode()
def published_qags(models: QagsModels, document: str, summary: str, rng: random.Random) -> float:
    """Wang et al. 2020 and W4ngatang/qags: 10 answers, 10 hypotheses each by beam 10, the likeliest 20 questions that the summary answers as expected,
    filled up with others, answered on summary and document."""
    spans = extract_answers(models.extractor, tokenise(models.extractor.seq2seq, [summary]), 0.02, 16)[0]
    texts = [span.text for span in spans] or [summary]
    answers = rng.sample(texts, 10) if len(texts) >= 10 else rng.choices(texts, k=10)
    generator = models.generator
    written = []
    for expected in answers:
        source = generator.pad_batch(sources(generator, [(summary, expected)]))
        out = generator.model.generate(
            input_ids=source, attention_mask=torch.ones_like(source), num_beams=10, num_return_sequences=10,
            max_new_tokens=40, do_sample=False, return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        written += [
            (score, generator.decode(ids), expected)
            for ids, score in zip(out.sequences.tolist(), out.sequences_scores.tolist(), strict=True)
        ]
    said = [one_answer(models.answerer, summary, question) for _, question, _ in written]
    ranked = sorted(range(len(written)), key=lambda number: -written[number][0])
    passed: dict[str, int] = {}
    for number in ranked:
        question = written[number][1]
        right = said[number] is not None and normalise(said[number] or "") == normalise(written[number][2])
        if right and "?" in question and len(question.split()) >= 3:
            passed.setdefault(question, number)
    kept = list(passed.values())[:20]
    kept += rng.sample([number for number in ranked if number not in kept], 20 - len(kept))
    return statistics.mean(
        token_f1(one_answer(models.answerer, summary, written[n][1]), one_answer(models.answerer, document, written[n][1])) for n in kept
    )


def one_answer(reader: Reader, text: str, question: str) -> str | None:
    windows = pieces(tokenise(reader.seq2seq, [text])[0], text_room(reader.seq2seq))[:1]
    return answer(reader, [windows], [[question]], 16)[0][0].text
