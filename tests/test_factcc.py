"""FactCC: claims made by rules, the stage that makes them, the classifier."""

from __future__ import annotations

import json
import math
import random
import re
import sys
import types
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from factloop.base import from_scratch
from factloop.claims import KINDS, claim_rows, make_claims, pattern_mentions, sentences, spacy_mentions
from factloop.claims.make import Edit, negations, noise, pronoun_swaps, same
from factloop.corpora.rows import BadRow, read_rows, write_rows
from factloop.judges.factcc import (
    FactCC,
    OtherFactcc,
    _input,
    _room,
    _scores,
    factcc,
    load_factcc,
    longest_claim,
    new_factcc,
    train_factcc,
)
from factloop.judges.spans import pieces, tokenise
from factloop.reader import Reader
from factloop.settings import ClaimSettings, FactccSettings, Network, TrainingSettings, Window
from factloop.steps.factcc import train
from factloop.steps.judge import examine
from factloop.world import generate
from factloop.world.errors import ERROR_TYPES
from factloop.world.oracle import hallucinates, parse
from factloop.world.vocabulary import make_world
from tasks import contracts, stages
from tasks.failures import said
from tasks.profiles import load_profile
from tests.test_training import Quiet, tiny

pytestmark = pytest.mark.unit
DOCUMENT = (
    "Mara Velling led the Hawks for 31 matches and was not seen in Oslo again. On Friday the Rams met Jonas Falk, who had spent "
    "$4 million on them in March 1984. The Otters won 12% of their games under Ruth Okoye, and she left on 3 May 1991. "
    "In Bergen he has signed forty players for the Foxes since Monday."
)
REFERENCE = "Mara Velling managed the Hawks. Jonas Falk paid $9 million. The Foxes signed forty."
MANY = ClaimSettings(pairs=60, reference_share=0.3)


def made(document: str = DOCUMENT, reference: str = REFERENCE, seed: int = 0, **options: Any) -> list[Any]:
    return make_claims(document, reference, MANY, random.Random(seed), **options)


def test_sentences_end_where_english_ends_them() -> None:
    text = 'Dr. Falk met J. R. Velling at 3 p.m. on 4.5 acres. "Who won?" he asked. !!! The U.S. did\nA line of its own'
    found = [text[begin:end] for begin, end in sentences(text)]
    assert found == ["Dr. Falk met J. R. Velling at 3 p.m. on 4.5 acres.", '"Who won?"', "he asked.", "The U.S. did", "A line of its own"]
    assert sentences("") == sentences("?! ... --") == []


def test_names_numbers_and_dates_are_found_with_their_form() -> None:
    assert [(item.group, item.text) for item in pattern_mentions(DOCUMENT)] == [
        ("long name", "Mara Velling"), ("the name", "Hawks"), ("number", "31"), ("name", "Oslo"), ("weekday", "Friday"), ("the name", "Rams"),
        ("long name", "Jonas Falk"), ("money", "$4 million"), ("month_of_year", "March 1984"), ("the name", "Otters"), ("percent", "12%"),
        ("long name", "Ruth Okoye"), ("day", "3 May 1991"), ("name", "Bergen"), ("number", "forty"), ("the name", "Foxes"), ("weekday", "Monday"),
    ]  # fmt: skip
    assert [item.text for item in pattern_mentions("Cooking is fun. The University of Oslo's dean, 1,984 in 1984, I agree.")] == [
        "University of Oslo", "1,984", "1984",
    ]  # fmt: skip
    assert pattern_mentions("Doctor: Okay, so how is it? Patient: Okay again.") == []


def test_every_wrong_claim_differs_from_its_sentence_in_one_way_that_the_document_does_not_state() -> None:
    claims = made()
    assert {claim.kind for claim in claims} == {*KINDS, "sentence", "reference"}
    stated = [DOCUMENT[begin:end] for begin, end in sentences(DOCUMENT)]
    for right, wrong in zip(claims[::2], claims[1::2], strict=True):
        assert (right.label, right.error, wrong.label) == ("CORRECT", None, "INCORRECT")
        assert not same(right.claim, wrong.claim) and not any(same(wrong.claim, text) for text in stated)
        words = wrong.claim[slice(*wrong.error)]
        if wrong.kind in ("entity", "number", "date"):  # a value of the document in the place of another of the same form
            form = {item.text: item.group for item in pattern_mentions(DOCUMENT)}
            replaced = DOCUMENT[slice(*wrong.source)]
            assert form[words] == form[replaced] and words not in replaced and replaced not in words
        else:
            assert {"pronoun": words.lower() in ("he", "she", "him", "her", "his", "their", "our", "they", "them", "us"), "negation": True}[
                wrong.kind
            ]


def test_references_count_only_where_all_their_values_stand_in_the_document() -> None:
    taken = {
        claim.claim
        for claim in make_claims(DOCUMENT, REFERENCE, ClaimSettings(400, reference_share=1.0), random.Random(0))
        if claim.kind == "reference"
    }
    assert "Mara Velling managed the Hawks." in taken and "The Foxes signed forty." in taken
    assert not any("9" in claim for claim in taken)
    published = make_claims(DOCUMENT, REFERENCE, ClaimSettings(60), random.Random(0))
    assert published and "reference" not in {claim.kind for claim in published}


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        ("Mara was not born in Oslo.", ["Mara was born in Oslo."]),
        ("They won't go.", ["They will go."]),
        ("He cannot sing.", ["He can sing."]),
        ("Mara never managed it.", ["Mara managed it."]),
        ("Mara is tall.", ["Mara is not tall.", "Mara isn't tall."]),
        ("Mara managed it.", ["Mara never managed it."]),
        ("She may win.", ["She may not win.", "She may not win."]),
        ("Trees grow.", []),
    ],
)
def test_negation(text: str, edits: list[str]) -> None:
    assert [edit.applied(text) for edit in negations(text, pattern_mentions(text + " Then Mara."))] == edits


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        ("She met her dog and saw her.", ["He met her dog and saw her.", "She met his dog and saw her.", "She met her dog and saw him."]),
        ("They told us.", ["We told us.", "They told them."]),
        ("US forces said it.", []),
    ],
)
def test_pronouns_swap_within_case_and_number(text: str, edits: list[str]) -> None:
    assert [edit.applied(text) for edit in pronoun_swaps(text)] == edits


def test_a_paraphrase_is_taken_only_with_the_same_values() -> None:
    assert "paraphrase" in {
        claim.kind for claim in made(paraphrase=lambda text: "Indeed " + text[0].lower() + text[1:] if text.startswith("In ") else text)
    }
    assert "paraphrase" not in {
        claim.kind
        for claim in made(paraphrase=lambda text: text.replace("Hawks", "Rams").replace("12", "13").replace("1984", "1985") + " Amen 7.")
    }


@given(st.text(max_size=400), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_noise_leaves_the_edit_alone(text: str, seed: int) -> None:
    rng = random.Random(seed)
    words = list(re.finditer(r"\w+", text))
    if words:
        word = rng.choice(words)
        wrong = Edit("entity", *word.span(), "Mara Velling").applied(text)
        noisy, span = noise(wrong, (word.start(), word.start() + 12), rng)
        assert span and noisy[slice(*span)] == "Mara Velling"


PIECES = st.sampled_from(
    ["Mara Velling ", "the Hawks ", "she ", "was not ", "didn't ", "in 1984", ". ", "! ", "31 ", "12% ", "Friday ", "\n", "“", "\x00", "\x1b[", "’s ", "é", "中文。", "مرحبا ", "İ", "ß ", "can’t ", "of ", "managed "]
)  # fmt: skip


@given(
    st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=60).map("".join),
    st.lists(PIECES, max_size=30).map("".join),
    st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_whatever_the_text_it_does_not_raise_and_spans_are_where_they_say(document: str, reference: str, seed: int) -> None:
    found = made(document, reference, seed)
    assert found == made(document, reference, seed)
    for right, wrong in zip(found[::2], found[1::2], strict=True):
        assert (right.label, wrong.label) == ("CORRECT", "INCORRECT") and not same(right.claim, wrong.claim)
        begin, end = wrong.error
        assert 0 <= begin < end <= len(wrong.claim) and "\x00" not in wrong.claim
        for claim in (right, wrong):
            assert claim.source is None or 0 <= claim.source[0] < claim.source[1] <= len(document)


@pytest.mark.parametrize("text", ["", "no end " * 10_000, "\x00" * 1000, "中文" * 5000, "!?" * 5000, "word. " * 1000])
def test_from_what_has_no_sentences_with_values_nothing_is_made(text: str) -> None:
    assert made(text, text) == []


def test_spacy_groups_take_the_place_of_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="spaCy model 'none_such' cannot be loaded"):
        spacy_mentions("none_such")
    entities = [types.SimpleNamespace(label_=label, text=text, start_char=DOCUMENT.index(text), end_char=DOCUMENT.index(text) + len(text))
                for label, text in (("PERSON", "Mara Velling"), ("CARDINAL", "31"), ("LAW", "games"), ("TIME", "Friday"))]  # fmt: skip
    read = type("Read", (), {"max_length": 100, "__call__": lambda self, text: types.SimpleNamespace(ents=entities)})()
    monkeypatch.setitem(sys.modules, "spacy", types.SimpleNamespace(load=lambda name: read))
    assert [(item.kind, item.group) for item in spacy_mentions("a_model")(DOCUMENT)] == [
        ("entity", "PERSON"),
        ("number", "CARDINAL"),
        ("date", "TIME"),
    ]


def world_rows(count: int) -> list[dict[str, Any]]:
    rows = generate.documents(make_world(1), 1, count, generate.Noise())
    return [{**row, "clean": row["summary"], "summary": row["training_summary"]} for row in rows]


def test_labels_are_right_of_the_world() -> None:
    """By the oracle, which needs whole sentences with names: of claims made from references."""
    rows, settings = {row["id"]: row for row in world_rows(300)}, ClaimSettings(6, reference_share=1.0)
    wrong: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row in claim_rows(list(rows.values()), settings):
        facts = [generate.Fact(**fact) for fact in rows[row["id"]]["facts"]]
        for claim in row["claims"]:
            made_of_values = claim["kind"] in ("reference", "entity", "number", "date")
            if made_of_values and not re.search(r"\b(?:he|she)\b", claim["claim"], re.I) and parse(claim["claim"]):
                total[claim["label"]] += 1
                wrong[claim["label"]] += hallucinates(claim["claim"], facts) != (claim["label"] == "INCORRECT")
    assert min(total.values()) > 200
    assert wrong["INCORRECT"] <= 0.01 * total["INCORRECT"] and wrong["CORRECT"] <= 0.04 * total["CORRECT"], (wrong, total)


def test_the_stage_makes_claims_of_training_documents_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    monkeypatch.setattr(contracts, "STATE", tmp_path / "state")
    profile = load_profile("fault")
    split, out = tmp_path / "data" / "fault" / "split", tmp_path / "data" / "fault" / "claims"
    rows = world_rows(30)
    write_rows(split / "summaries.train.jsonl", rows)
    write_rows(split / "summaries.test.jsonl", world_rows(40)[30:])
    stages.run("claims", profile)
    written = (out / "claims.jsonl").read_bytes()
    assert {row["id"] for row in read_rows(out / "claims.jsonl")} == {row["id"] for row in rows[: profile.data.claims.documents]}
    counts = json.loads((out / "counts.json").read_text())
    assert counts["documents"] == profile.data.claims.documents and set(counts) > {"CORRECT.reference", "INCORRECT.entity"}
    stages.run("claims", profile)
    assert (out / "claims.jsonl").read_bytes() == written
    write_rows(split / "summaries.train.jsonl", [rows[0], rows[0]])
    with pytest.raises(contracts.ContractBroken, match="id: expect_column_values_to_be_unique"):
        stages.run("claims", profile)
    (split / "summaries.train.jsonl").write_text("{")
    with pytest.raises(BadRow):
        stages.run("claims", profile)
    assert (out / "claims.jsonl").read_bytes() == written and not list(tmp_path.rglob("*.unfinished"))
    write_rows(split / "summaries.train.jsonl", [{"id": "a", "document": "no values here at all in this one.", "summary": "none."}])
    stages.run("claims", profile)
    assert json.loads((out / "counts.json").read_text()) == {"documents": 0}


def test_the_contract_knows_labels_and_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "STATE", tmp_path)
    (row,) = claim_rows(world_rows(1), ClaimSettings(2))
    contracts.check("claims", [row], "here", "toy")
    bad = json.loads(json.dumps(row))
    bad["claims"][0] |= {"label": "correct", "source": [0, 10_000]}
    with pytest.raises(contracts.ContractBroken, match=r"(?s)broke 3 of 6 rules.*unlabelled.*spans_outside.*share_correct"):
        contracts.check("claims", [bad], "here", "toy")


def reader(seed: int = 0) -> Reader:
    return new_factcc(tiny(seed), seed)


def test_it_learns_is_saved_and_reads_back(tmp_path: Path) -> None:
    documents = [f"Mara Velling wrote number {n} in {1960 + n}." for n in range(40)]
    claims = [
        {"document": text, "claims": [
            {"claim": text, "label": "CORRECT", "source": [0, len(text)], "error": None},
            {"claim": text.replace("wrote", "did not"), "label": "INCORRECT", "source": [13, 18], "error": [13, 20]},
        ]} for text in documents
    ]  # fmt: skip
    model = reader()
    curve = train_factcc(model, claims, TrainingSettings(60, 16, 1e-2, warmup=5), 0, tmp_path, Quiet())
    assert curve[-1]["accuracy"] == 1 and curve[-1]["span_loss"] < curve[0]["span_loss"] / 2
    found = factcc(model, documents[:2] * 2, [documents[0], documents[1].replace("wrote", "did not"), "", "?! __"], FactccSettings())
    right, wrong = found[0].sentences[0], found[1].sentences[0]
    assert right.correct > 0.9 > 0.1 > wrong.correct
    assert wrong.text[slice(*wrong.claim)] == "did not" and documents[1][slice(*wrong.source)] == "wrote"
    assert [(verdict.mean, verdict.worst) for verdict in found[2:]] == [(None, None)] * 2
    assert [verdict.status for verdict in found] == [
        "scored",
        "scored",
        "empty: the summary has no letter or digit",
        "empty: the summary has no letter or digit",
    ]
    model.save(tmp_path / "model")
    assert {path.suffix for path in (tmp_path / "model").iterdir()} == {".json", ".safetensors"}
    assert factcc(load_factcc(tmp_path / "model"), documents[:1], documents[:1], FactccSettings())[0] == found[0]


def test_one_of_before_the_decoder_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    Reader.from_base(tiny(), {"label": 2, "source": 2, "claim": 2}, 0).save(tmp_path)
    with pytest.raises(OtherFactcc) as error:
        load_factcc(tmp_path)
    assert "train_judges --profile <profile> --replace" in str(said(error.value))


@pytest.mark.invariant
def test_batches_and_order_change_nothing() -> None:
    model = reader(1)
    texts = [row["document"] for row in world_rows(6)]
    said = ["Mara won. " * (n + 1) + "Jonas did not." for n in range(6)]
    one, many = factcc(model, texts, said, FactccSettings(batch_size=1)), factcc(model, texts, said, FactccSettings(batch_size=64))
    back = factcc(model, texts[::-1], said[::-1], FactccSettings(batch_size=5))[::-1]
    assert max(len(row.sentences) for row in one) == 7
    for other in (many, back):
        for a, b in zip(one, other, strict=True):
            assert [s.correct for s in a.sentences] == pytest.approx([s.correct for s in b.sentences], abs=1e-5)


def test_of_a_long_document_each_sentence_takes_the_piece_that_speaks_for_it() -> None:
    model = reader(2)
    with torch.no_grad():  # one that has learned nothing hardly looks at the document
        for name, parameter in model.seq2seq.model.named_parameters():
            if "encoder_attn" in name:
                parameter *= 20
    long = " ".join(row["document"] for row in world_rows(3))
    (whole,) = factcc(model, [long], ["Mara won."], FactccSettings(pieces=1000))
    parts = factcc(model, [long[:120], long[120:240], long], ["Mara won."] * 3, FactccSettings(pieces=1))
    document, claim = tokenise(model.seq2seq, [long, "Mara won."])
    inputs = [_input(model.seq2seq, piece, claim) for piece in pieces(document, _room(model.seq2seq, claim))]
    chances = _scores(model, inputs)[0].detach().softmax(1)[:, 0]
    assert len(inputs) > 10 and chances.max() > chances.mean() + 1e-3
    assert whole.worst == pytest.approx(float(chances.max()), abs=1e-5)
    begin, end = whole.sentences[0].source
    best = inputs[int(chances.argmax())]
    assert long[begin:end] in model.seq2seq.decode(best.ids[: best.document])
    assert parts[2].status.startswith("too long: document of ") and parts[2].mean is None
    wordy = "w" * 2 * longest_claim(model.seq2seq) + "."
    assert factcc(model, [long[:50]], [wordy], FactccSettings())[0].status.startswith("too long: sentence of ")
    assert factcc(model, [""], ["Mara won."], FactccSettings())[0] == FactCC([], "empty: the document has no letter or digit")
    bad = [("?! ...", "Mara won."), ("Mara won.", "Mara \ud800."), ("Mara \ud800.", "Mara won."), ("Mara won.", "Mara won.")]
    found = factcc(model, *map(list, zip(*bad, strict=True)), FactccSettings())  # type: ignore[arg-type]
    surrogate = "not text: the {} has a lone surrogate at character 5".format
    assert [verdict.status for verdict in found] == [
        "empty: the document has no letter or digit",
        surrogate("summary"),
        surrogate("document"),
        "scored",
    ]
    (alone,) = factcc(model, ["Mara won."], ["Mara won."], FactccSettings())
    assert found[3].mean == pytest.approx(alone.mean, abs=1e-6) and [verdict.mean for verdict in found[:3]] == [None] * 3
    with pytest.raises(ValueError, match="1 documents but 2 summaries"):
        factcc(model, [long], ["a", "b"], FactccSettings())


def test_an_answer_that_is_no_number_gives_no_score() -> None:
    model = reader()
    with torch.no_grad():
        model.heads["label"].bias.fill_(float("nan"))
    (found,) = factcc(model, ["Mara won."], ["Mara won."], FactccSettings())
    assert found == FactCC([], "not finite: the judge gave NaN or infinity")


def test_the_steps_train_and_examine(tmp_path: Path) -> None:
    rows = world_rows(20)
    write_rows(tmp_path / "claims.jsonl", claim_rows(rows, ClaimSettings(2, reference_share=0.5)))
    write_rows(tmp_path / "test.jsonl", [row | {"summary": row["clean"]} for row in rows])
    from_scratch([row["document"] for row in rows], Network(16, 1, 1, 2, 500), Window(160, 32), 0).save(tmp_path / "base")
    config = {"training": {"steps": 2, "batch_size": 4, "learning_rate": 1e-3, "warmup": 1}, "seed": 1, "device": "cpu"}
    found = train(config, {"base": tmp_path / "base", "claims": tmp_path / "claims.jsonl"}, tmp_path, tmp_path / "checkpoints", Quiet())
    assert found["claims"] >= 40
    config = {"factcc": {"pieces": 100}, "world_seed": 1, "examples": 12, "errors_each": 4, "device": "cpu"}
    metrics = examine(
        config, {"factcc": tmp_path / "model", "summaries": tmp_path / "test.jsonl"}, tmp_path, tmp_path / "checkpoints", Quiet()
    )
    assert {
        f"judge/{name}/auc/{kind.replace(' ', '_')}"
        for name in ("factcc", "factcc_worst", "unigrams")
        for kind in ERROR_TYPES
        if kind not in ("pronoun",)
    } <= set(metrics)
    assert {row["error"] for row in read_rows(tmp_path / "examples.jsonl")} >= {None, "entity", "negation"}


BAD = {  # (summary, document): why there is no score; "" where there is one
    ("Mara <sep>.", "Mara <sep> won </s>."): "",
    ("Mara\x00\u202e.", "Mara\x1b[31m won."): "",
    ("Mara won.", "Mara won. " * 70_000): "too long: document of ",
    ("玛拉写书", "Mara won."): "unknown_script: ",
    ("Mara won.", "____"): "empty: the document",
}


def test_bad_text_has_a_status_of_its_own_and_its_neighbours_their_scores() -> None:
    model = reader(3)
    good = [row["document"] for row in world_rows(3)]
    alone = factcc(model, good, good, FactccSettings())
    found = factcc(model, [*good, *(document for _, document in BAD)], [*good, *(summary for summary, _ in BAD)], FactccSettings())
    assert [verdict.mean for verdict in found[:3]] == pytest.approx([verdict.mean for verdict in alone], abs=1e-5)
    for why, verdict in zip(BAD.values(), found[3:], strict=True):
        assert verdict.status.startswith(why or "scored") and (verdict.mean is None) == bool(why), verdict.status


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_that_gives_no_numbers_gives_no_scores(value: float) -> None:
    model = reader(4)
    with torch.no_grad():
        model.seq2seq.model.get_encoder().layers[0].fc1.weight.fill_(value)
    assert {verdict.status for verdict in factcc(model, ["Mara won."] * 2, ["Mara won."] * 2, FactccSettings())} == {
        "not finite: the judge gave NaN or infinity"
    }
