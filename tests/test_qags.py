"""QAGS: spans, answers, filter, invariance, bad input, training, loading."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import types
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from factloop.base import from_scratch
from factloop.judges.answer_extractor import (
    Candidate,
    NoSpacy,
    _spans,
    extract_answers,
    new_extractor,
    noun_phrases,
    train_answer_extractor,
)
from factloop.judges.answers import normalise, token_f1
from factloop.judges.qags import Qags, QagsModels, QagsQuestion, Written, _choose, _proper, keep, qags
from factloop.judges.question_answerer import (
    Answer,
    ForeignQuestions,
    _named,
    _rank,
    answer,
    new_answerer,
    text_room,
    train_question_answerer,
)
from factloop.judges.question_generator import sources, train_question_generator
from factloop.judges.spans import pieces, tokenise
from factloop.reader import Reader
from factloop.seq2seq import SEP, Seq2Seq
from factloop.settings import Network, QagsSettings, QuestionAnswererSettings, TrainingSettings, Window
from tasks.failures import said
from tasks.judges import judge_settings
from tasks.profiles import load_profile
from tests.test_training import Quiet

PEOPLE = ("Mara Velling", "Jonas Falk", "Ines Brandt", "Theo Okoye")
PLACES = ("Redcliff", "Galway", "Oslo", "Turin")
PASSAGES = [
    {
        "passage": f"{one} moved to {here} in {year}. {other} moved to {there}.",
        "questions": [
            {"question": f"Where did {one} move?", "answer": here},
            {"question": f"Where did {other} move?", "answer": there},
            {"question": f"When did {one} move?", "answer": str(year)},
        ],
    }
    for one in PEOPLE
    for other in PEOPLE
    for here in PLACES
    for there in PLACES
    for year in (1984, 1991)
    if one != other and here != there
]
TEXTS = [" ".join([row["passage"], *(item["question"] for item in row["questions"])]) for row in PASSAGES]
SETTINGS = QagsSettings(answers=4, hypotheses=3, question_length=12)


def base(window: int = 64) -> Seq2Seq:
    return from_scratch(TEXTS, Network(32, 1, 1, 2, 500), Window(window, 32), 0)


@pytest.fixture(scope="module")
def curves() -> dict[str, list[dict[str, float]]]:
    return {}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, curves: dict[str, list[dict[str, float]]]) -> QagsModels:
    """Trained for seconds: enough that questions pass the filter."""
    folder = tmp_path_factory.mktemp("qags")
    made = QagsModels(new_extractor(base(), 0), base(), new_answerer(base(), 0))
    settings = TrainingSettings(120, 16, 3e-3, warmup=10, muon=0.01)
    curves["extractor"] = train_answer_extractor(made.extractor, PASSAGES, settings, 0, folder / "a", Quiet())
    curves["generator"] = train_question_generator(made.generator, PASSAGES, settings, 0, folder / "b", Quiet())
    answering = QuestionAnswererSettings(replace(settings, steps=150))
    curves["answerer"] = train_question_answerer(made.answerer, PASSAGES, answering, 0, folder / "c", Quiet())
    return made


DOCUMENTS = [row["passage"] for row in PASSAGES[:24]]
SUMMARIES = [row["passage"].split(". ")[0] + "." for row in PASSAGES[24:48]]


def same(one: Qags, other: Qags) -> bool:
    return (one.status, [q.question for q in one.questions]) == (other.status, [q.question for q in other.questions]) and (
        one.mean == other.mean or abs((one.mean or 0) - (other.mean or 0)) <= 1e-4
    )


# Answers


@pytest.mark.unit
def test_answers_are_compared_as_squad_does() -> None:
    assert normalise("The  Harbour-Cup, a (new) one!") == "harbourcup new one"
    assert token_f1("the Harbour Cup", "Harbour Cup") == 1.0
    assert token_f1("Harbour Cup", "Harbour") == pytest.approx(2 / 3)
    assert token_f1("a a b b", "b c") == pytest.approx(2 * 1 / (2 + 2))  # "a" is an article
    assert token_f1("Jonas", "Mara") == 0.0
    assert (token_f1(None, None), token_f1(None, "Mara"), token_f1("Mara", None)) == (1.0, 0.0, 0.0)
    assert (token_f1("the", "the"), token_f1("the", "Mara")) == (1.0, 0.0)  # nothing is left of "the"


@pytest.mark.unit
def test_qags_is_the_mean_of_its_questions_and_knows_its_worst() -> None:
    asked = [QagsQuestion("q?", 1.0, "Mara Falk", 1.0, said, 1.0) for said in ("Mara Falk", None, "Falk")]
    assert Qags(asked).mean == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert (Qags(asked).worst, Qags(asked).status) == (0.0, "scored")
    assert (Qags().mean, Qags().worst, Qags().status, Qags(unfit="empty").status) == (None, None, "no_evidence", "empty")


# Spans


@pytest.mark.unit
def test_an_answer_is_found_as_whole_words_wherever_it_stands() -> None:
    text = "Oslo and Oslofjord: (Oslo), Zoë. 1984, 19845"
    window = tokenise(base(), [text])[0]
    assert [window.span(*place) for place in window.find("Oslo")] == ["Oslo", "Oslo"]
    assert [window.span(*place) for place in window.find("1984")] == ["1984"]
    assert [window.span(*place) for place in window.find("Zoë")] == ["Zoë"]
    assert window.find("Turin") == window.find("") == []
    cuts = pieces(window, 15)
    assert len(cuts) > 1 and all(len(cut.ids) <= 16 for cut in cuts)
    assert [cut.span(*place) for cut in cuts for place in cut.find("1984")][:1] == ["1984"]


@pytest.mark.unit
def test_candidates_are_tagged_spans_ranked_by_their_probability() -> None:
    window = tokenise(base(), ["Mara Velling moved to Oslo."])[0]
    count = len(window.offsets)
    tags = [[0.1, 0.8, 0.1], [0.1, 0.0, 0.9]] + [[1.0, 0.0, 0.0]] * (count - 2)
    tags[window.find("to")[0][0]] = [0.3, 0.6, 0.1]  # the next one begins an answer, so this one ends
    tags[window.find("Oslo")[0][0]] = [0.2, 0.5, 0.3]
    found = _spans(window, tags, 0.02, 8)
    assert [one.text for one in found] == ["Mara Velling", "to", "Oslo"]
    assert [one.probability for one in found] == pytest.approx([math.sqrt(0.8 * 0.9), 0.6, 0.5])
    assert [one.text for one in _spans(window, tags, 0.55, 1)] == ["Mara", "to"]


@pytest.mark.unit
def test_seed_decides_only_between_answers_of_equal_score() -> None:
    equal = [Candidate(f"answer {n}", 0.5) for n in range(20)]
    chosen = [_choose([*equal, Candidate("sure", 0.9)], replace(SETTINGS, seed=seed)) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert [line[0] for line in chosen] == ["sure"] * 3 and all(len(set(line)) == 4 for line in chosen)


@pytest.mark.unit
def test_noun_phrases_name_what_to_install() -> None:
    with pytest.raises(RuntimeError, match="python -m spacy download no_such_model"):
        noun_phrases(["Mara moved."], "no_such_model")


@pytest.mark.unit
def test_a_setting_asks_about_the_noun_phrases_of_spacy(models: QagsModels, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load_profile("world", ["judges.qags.spacy=no_such_model"])
    assert judge_settings(profile)["qags"]["spacy"] == "no_such_model"
    with pytest.raises(NoSpacy, match="python -m spacy download no_such_model") as refused:
        qags(models, DOCUMENTS[:1], SUMMARIES[:1], replace(SETTINGS, spacy="no_such_model"))
    assert said(refused.value) == str(refused.value)  # a person is told it without a traceback

    def parts(text: str) -> types.SimpleNamespace:
        names = [types.SimpleNamespace(text=name) for name in (*PEOPLE, *PLACES) if name in text]
        return types.SimpleNamespace(ents=names[:1], noun_chunks=names)

    pipeline = types.SimpleNamespace(pipe=lambda texts: map(parts, texts))
    monkeypatch.setitem(sys.modules, "spacy", types.SimpleNamespace(load=lambda name: pipeline))
    found = qags(models, DOCUMENTS[:8], SUMMARIES[:8], replace(SETTINGS, spacy="a_model"))
    answers = {normalise(str(question.summary)) for one in found for question in one.questions}
    assert answers and answers <= {normalise(name) for name in (*PEOPLE, *PLACES)}


@pytest.mark.unit
def test_a_long_text_is_cut_about_its_answer_for_the_generator() -> None:
    model = base(24)
    text = "so it was and so it went, " * 20 + "until Mara Velling moved to Oslo at last " + "and so on " * 20
    (ids,) = sources(model, [(text, "Oslo")])
    assert len(ids) <= 24 and "moved to Oslo" in model.decode(ids)
    assert model.decode(ids[ids.index(model.special(SEP)) :]).endswith("Oslo") and ids[-1] == model.eos
    (ids,) = sources(model, [("say <sep> to Mara", "Mara")])
    assert ids.count(model.special(SEP)) == 1


# Filter


@pytest.mark.unit
def test_a_question_is_cut_at_its_mark_and_kept_once_if_it_reads_as_one() -> None:
    written = [
        Written("Where did Mara move? Where?", 0.5, "Oslo"),
        Written("where did Mara  move?", 0.9, "Oslo"),
        Written("Where did Mara move?", 0.4, "Turin"),
        Written("Who moved?", 0.9, "Mara"),
        Written("Where did she move", 0.9, "Oslo"),
    ]
    found = _proper(written, True)
    assert [(one.question, one.expected) for one in found] == [("where did Mara  move?", "Oslo"), ("Where did Mara move?", "Turin")]
    assert "Where did she move" in [one.question for one in _proper(written, False)]


@pytest.mark.unit
def test_only_questions_that_the_summary_answers_as_expected_are_kept_and_never_padded() -> None:
    written = [Written(f"Where is {n}?", 1 - n / 10, "the Oslo") for n in range(5)] + [Written("where is 0", 0.1, "Oslo")]
    texts = ["Oslo", None, "Turin", "oslo.", "Oslo", "Oslo"]
    found = keep(written, [Answer(text, 0.5) for text in texts], 20)
    assert [one.question for one in found] == ["Where is 0?", "Where is 3?", "Where is 4?"]
    assert [one.question for one in keep(written, [Answer(text, 0.5) for text in texts], 2)] == ["Where is 0?", "Where is 3?"]
    assert keep(written, [Answer(None, 0.5)] * 6, 20) == []


# No answer


@pytest.mark.unit
def test_there_is_no_answer_only_where_no_window_has_one() -> None:
    sure, faint, none, broken = Answer("Oslo", 0.9), Answer("Turin", 0.1), Answer(None, 0.99), Answer(None, math.nan)
    assert max([none, faint, sure], key=_rank) is sure
    assert max([none, faint], key=_rank) is faint
    assert max([Answer(None, 0.5), none], key=_rank) is none
    assert max([sure, broken], key=_rank) is broken


@pytest.mark.unit
def test_foreign_questions_name_what_the_passage_names_and_are_not_its_own() -> None:
    foreign = ForeignQuestions(PASSAGES)
    torch.manual_seed(0)
    for index in range(0, len(PASSAGES), 7):
        drawn = foreign.draw(index)
        assert drawn not in [item["question"] for item in PASSAGES[index]["questions"]]
    rare = [{"passage": "Ada met Bo.", "questions": [{"question": "Who met Bo?", "answer": "Ada"}]}] + [
        {"passage": f"Cy met Dee {n}.", "questions": [{"question": f"Who met Dee {n}?", "answer": "Cy"}]} for n in range(30)
    ]
    rare.append({"passage": "Bo met Ada.", "questions": [{"question": "Who did Bo meet?", "answer": "Ada"}]})
    assert {ForeignQuestions(rare).draw(0) for _ in range(20)} == {"Who did Bo meet?"}  # the hard one, whenever there is one
    assert ForeignQuestions(rare[:1]).draw(0) is None
    assert _named("Who met Bo in 1984?") == {"Bo", "1984"}


@pytest.mark.invariant
def test_an_answer_is_found_in_whichever_piece_of_a_long_text_has_it(models: QagsModels) -> None:
    reader = models.answerer
    question = ["Where did Mara Velling move?"]
    fact, filler = "Mara Velling moved to Oslo in 1984.", "Jonas Falk moved to Turin. "
    for text in (fact + " " + filler * 20, filler * 20 + fact):
        windows = pieces(tokenise(reader.seq2seq, [text])[0], text_room(reader.seq2seq))
        assert len(windows) > 2
        one_by_one = [answer(reader, [[window]], [question], 8)[0][0] for window in windows]
        whole = answer(reader, [windows], [question], 8)[0][0]
        best = max(one_by_one, key=_rank)
        assert whole.text == best.text and whole.probability == pytest.approx(best.probability, abs=1e-4)


# The whole


@pytest.mark.unit
def test_losses_fall_and_questions_pass_the_filter(models: QagsModels, curves: dict[str, list[dict[str, float]]]) -> None:
    for name, curve in curves.items():
        assert curve[-1]["loss"] < 0.6 * curve[0]["loss"], name
    found = qags(models, DOCUMENTS, SUMMARIES, SETTINGS)
    scored = [one for one in found if one.status == "scored"]
    assert len(scored) > len(found) / 2
    for one, summary in zip(found, SUMMARIES, strict=True):
        assert one.status in ("scored", "no_evidence")
        assert all(question.summary and question.summary in summary for question in one.questions)


@pytest.mark.invariant
def test_neither_batch_size_nor_order_nor_neighbours_nor_threads_change_a_verdict(models: QagsModels) -> None:
    found, threads = qags(models, DOCUMENTS, SUMMARIES, SETTINGS), torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    try:
        assert all(map(same, found, qags(models, DOCUMENTS, SUMMARIES, SETTINGS)))
    finally:
        torch.set_num_threads(threads)
    assert any(one.questions for one in found)
    alone = [qags(models, [document], [summary], SETTINGS)[0] for document, summary in zip(DOCUMENTS, SUMMARIES, strict=True)]
    turned = qags(models, DOCUMENTS[::-1], SUMMARIES[::-1], replace(SETTINGS, batch_size=5))[::-1]
    for other in (alone, turned):
        assert all(map(same, found, other))
    again = qags(models, DOCUMENTS, SUMMARIES, SETTINGS)
    assert [asdict(one) for one in again] == [asdict(one) for one in found]


BAD = {
    "": ("empty: the summary", None),
    "?! __": ("empty: the summary", None),
    "Мара переехала в Осло": ("unknown_script: ", None),
    "玛拉搬到奥斯陆": ("unknown_script: ", None),
    "Mara \ud800 moved": ("not text: the summary has a lone surrogate at character 5", None),
    "Mara Velling moved to Oslo. " * 40: ("too long: summary of 2", None),
    "Mara Velling\x00 moved\x07 to\u202e Oslo.": (None, None),
    "<sep> Mara Velling moved <sep></s> to Oslo in 1984. <pad>": (None, None),
    "Mara Velling moved to Oslo in 1984. ": ("too long: document of ", "Mara Velling moved to Oslo. " * 30_000),
    "Mara Velling moved to Oslo in 1984.": ("empty: the document", "\n"),
    "Mara Velling moved to Turin in 1984.": ("unknown_script: ", "玛拉搬到奥斯陆"),
}


@pytest.mark.unit
def test_bad_text_has_a_status_of_its_own_and_its_neighbours_their_scores(models: QagsModels) -> None:
    good = qags(models, DOCUMENTS[:4], SUMMARIES[:4], SETTINGS)
    documents = [*DOCUMENTS[:4], *(document or DOCUMENTS[0] for _, document in BAD.values())]
    found = qags(models, documents, [*SUMMARIES[:4], *BAD], SETTINGS)
    assert all(map(same, good, found[:4]))
    for (summary, (status, _)), one in zip(BAD.items(), found[4:], strict=True):
        if status:
            assert one.status.startswith(status) and one.mean is None, (summary[:40], one.status)
        else:
            assert one.status in ("scored", "no_evidence"), (summary, one.status)
    with pytest.raises(ValueError, match="1 documents but 2 summaries"):
        qags(models, ["a"], ["b", "c"], SETTINGS)


@pytest.mark.unit
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("part", QagsModels._fields)
def test_a_model_that_gives_no_numbers_gives_no_scores(models: QagsModels, part: str, value: float, tmp_path: Path) -> None:
    model = getattr(models, part)
    model.save(tmp_path)
    broken = type(model).load(tmp_path)
    seq2seq = broken.seq2seq if isinstance(broken, Reader) else broken
    with torch.no_grad():
        seq2seq.model.get_encoder().layers[0].fc1.weight.fill_(value)
    found = qags(models._replace(**{part: broken}), DOCUMENTS[:3], SUMMARIES[:3], SETTINGS)
    name = {"extractor": "answer extractor", "generator": "question generator", "answerer": "question answerer"}[part]
    assert {one.status for one in found} == {f"not finite: the {name} gave NaN or infinity"}


@pytest.mark.unit
def test_models_load_in_a_new_process_and_judge_the_same(models: QagsModels, tmp_path: Path) -> None:
    for name, model in models._asdict().items():
        model.save(tmp_path / name)
        assert not [path.name for path in (tmp_path / name).iterdir() if path.suffix not in (".json", ".safetensors", ".jinja")]
    code = f"""
import json, sys
from dataclasses import asdict
from pathlib import Path
import torch
from factloop.judges.qags import QagsModels, qags
from factloop.reader import Reader
from factloop.seq2seq import Seq2Seq
from factloop.settings import QagsSettings
folder = Path({str(tmp_path)!r})
models = QagsModels(Reader.load(folder / "extractor"), Seq2Seq.load(folder / "generator"), Reader.load(folder / "answerer"))
documents, summaries = json.load(sys.stdin)
print(json.dumps([asdict(one) for one in qags(models, documents, summaries, QagsSettings(**{asdict(SETTINGS)!r}))]))
"""
    given = json.dumps([DOCUMENTS[:6], SUMMARIES[:6]])
    result = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, text=True, check=True)
    found = [asdict(one) for one in qags(models, DOCUMENTS[:6], SUMMARIES[:6], SETTINGS)]
    assert json.loads(result.stdout) == json.loads(json.dumps(found)) and any(one["questions"] for one in found)


@pytest.mark.unit
def test_extracted_answers_stand_in_the_text(models: QagsModels) -> None:
    windows = tokenise(models.extractor.seq2seq, SUMMARIES[:5])
    for summary, found in zip(SUMMARIES, extract_answers(models.extractor, windows, 0.02, 16), strict=False):
        assert found and all(one.text in summary and 0.02 <= one.probability <= 1 for one in found)
