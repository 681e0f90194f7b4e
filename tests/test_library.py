"""Contrast, tables, corpora: known answers and refusals."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch

from factloop.base import from_scratch, train_tokenizer
from factloop.contrast import Judged, edits, select, train_contrast
from factloop.contrast.collapse import Outputs, check, shares
from factloop.contrast.mix import Scale, borne_out
from factloop.contrast.train import beside, forks, parted, unlikelihood
from factloop.corpora.clusters import assign, clusters
from factloop.corpora.formats import FORMATS
from factloop.corpora.readers import read
from factloop.corpora.rows import BadRow, read_rows, write_rows
from factloop.metrics.overlap import overlap_features
from factloop.metrics.text import bleu, repeats, rouge
from factloop.seq2seq import COL, LINK, ROW, SEP, Seq2Seq, Special
from factloop.settings import ContrastSettings, Network, TrainingSettings, Window
from factloop.steps.summaries import answers
from factloop.steps.summarizer import train_contrastive
from factloop.steps.tables import inverted, is_question
from factloop.tables.linearise import linearise
from factloop.tables.model import TableQA, train_table_qa
from factloop.training import TrainingDiverged
from factloop.training.fit import batches, log_every
from factloop.training.pairs import size, train_pairs
from factloop.world.generate import Noise, documents
from factloop.world.vocabulary import make_world
from tests.conftest import ROOT
from tests.test_training import PAIRS, TEXTS, Quiet, tiny

pytestmark = pytest.mark.unit


# Judges


def test_rouge_and_bleu_on_known_answers() -> None:
    references, outputs = ["the cat sat on the mat", "a b c d e"], ["the cat on the mat", "a b c d e"]
    assert rouge(references, outputs)["rouge1"] == pytest.approx([100 * 10 / 11, 100])
    assert bleu(references, outputs) == pytest.approx(sacrebleu.corpus_bleu(outputs, [references]).score)
    shouted = [text.upper() for text in outputs]
    assert bleu(references, shouted) == 0.0 and bleu(references, shouted, lowercase=True) == bleu(references, outputs)


def test_overlap_features() -> None:
    found = overlap_features("Mara wrote it in 1984. Jonas sang.", "Jonas wrote Emma in 1985.")
    assert found["unigrams"] == pytest.approx(3 / 5)
    assert found["worst_sentence"] == pytest.approx(2 / 5)
    assert found["values"] == 0.0


# Contrast


def test_selection_takes_best_references_and_worst_candidates() -> None:
    chosen = select([-0.1, -0.5, None, -0.2], [[-1.0, -3.0], [-0.2, None], [None, None], [-2.0, -0.1]], 0.67, 0.67)
    assert chosen.positives == [0, 3]
    assert chosen.negatives == [(0, 1), (3, 0)]
    both = select([-0.1, -0.5, None, -0.2], [[-1.0, -3.0], [-0.2, None], [None, None], [-2.0, -0.1]], 0.67, 0.34, intersect=True)
    assert both.positives == [0] and both.negatives == [(0, 1)]
    with pytest.raises(ValueError, match="S\\+ has 0 and S- 0 summaries in both shares"):
        select([-0.1, -0.2], [[-1.0], [-2.0]], 0.5, 0.5, intersect=True)
    with pytest.raises(ValueError, match="S\\+ has 0 and S- 0.*of 2 documents 0 references"):
        select([None, None], [[None], [None]], 0.5, 0.5)


def test_unlikelihood_is_minus_log_of_what_is_left() -> None:
    logits = torch.log(torch.tensor([[[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]]]))
    assert float(unlikelihood(logits, torch.tensor([[0, 2]]), pad=2)) == pytest.approx(-np.log(0.3), abs=1e-5)


def contrast(weight: float, rate: float, collapse: float = 0.5) -> ContrastSettings:
    return ContrastSettings(TrainingSettings(30, 8, rate, warmup=1), 0.5, 0.5, weight, collapse)


def test_collapse_stops_with_the_numbers_and_a_gentle_term_does_not(tmp_path: Path) -> None:
    wrong = [(source, ["Jonas wrote nothing."]) for source, _ in PAIRS]
    with pytest.raises(TrainingDiverged, match=r"collapsing: the loss on S\+ rose from .* lower negative_weight \(50"):
        learned = tiny()
        train_pairs(learned, PAIRS, TrainingSettings(80, 8, 1e-2, warmup=5), 0, tmp_path / "mle", Quiet())
        train_contrast(learned, PAIRS, PAIRS, [], contrast(50.0, 0.01), 0, tmp_path / "a", Quiet())
    curve = train_contrast(tiny(), PAIRS, wrong, [], contrast(0.1, 1e-3), 0, tmp_path / "b", Quiet())
    assert curve[-1]["positive_loss"] < curve[0]["positive_loss"] and "negative_loss" in curve[0]
    assert "negative_loss" not in train_contrast(tiny(), PAIRS, wrong, [], contrast(0.0, 1e-3), 0, tmp_path / "c", Quiet())[0]


def test_a_collapse_is_told_from_the_start_though_training_was_interrupted(tmp_path: Path) -> None:
    settings = contrast(50.0, 0.002)
    settings = replace(settings, training=replace(settings.training, checkpoint_every=1))

    class Dies(Quiet):
        def log(self, metrics: dict[str, float], step: int) -> None:
            if step > log_every(settings.training.steps):  # at the second entry of the curve
                raise KeyboardInterrupt

    def told(folder: str, progress: Quiet) -> str:
        learned = tiny()
        train_pairs(learned, PAIRS, TrainingSettings(80, 8, 1e-2, warmup=5), 0, tmp_path / "mle", Quiet())
        with pytest.raises((TrainingDiverged, KeyboardInterrupt)) as stopped:
            train_contrast(learned, PAIRS, PAIRS, [], settings, 0, tmp_path / folder, progress)
        return str(stopped.value)

    assert told("interrupted", Dies()) == ""
    assert told("interrupted", Quiet()) == told("whole", Quiet()) != ""


def test_outputs_that_collapse_or_go_round_in_circles_stop_with_the_numbers() -> None:
    assert repeats("the vote of the vote of the vote of") and not repeats("the vote of the people is the vote of all")
    assert is_question("Who did the Rovers host?") and not is_question(f"Who did the Rovers {'host the Lynxes ' * 3}?")
    assert shares(["a", "a", "b", "c c c c c c"]) == Outputs(0.75, 0.25)
    good = Outputs(0.9, 0.0)
    check(good, Outputs(0.5, 0.2), "c")
    check(Outputs(0.03, 0.9), Outputs(0.03, 1.0), "c")  # as bad before
    with pytest.raises(TrainingDiverged, match=r"c: collapsed: .* 40% differ from each other \(90% before\) and 0% repeat"):
        check(good, Outputs(0.4, 0.0), "c")
    with pytest.raises(TrainingDiverged, match=r"30% repeat themselves \(0% before\); lower the learning rate"):
        check(good, Outputs(0.9, 0.3), "c")


def test_a_step_whose_model_says_the_same_of_all_documents_ends_with_an_error(tmp_path: Path) -> None:
    kinds = [(["Mara sang."], ["She did."]), (["Jonas ran."], ["He did."]), (["Emma wrote."], ["It is."]), (["Falk won."], ["Not so."])] * 8
    learned = from_scratch([" ".join(source + target) for source, target in kinds], Network(16, 1, 1, 2, 500), Window(32, 32), 0)
    train_pairs(learned, kinds, TrainingSettings(80, 8, 1e-2, warmup=5), 0, tmp_path / "mle", Quiet())
    learned.save(tmp_path / "model")
    row = {"summary": "He did.", "candidates": ["x"], "scores": [{"quals": 0.0}, {"quals": -1.0}], "answers": [{}, {}]}
    write_rows(tmp_path / "scores.jsonl", (row | {"document": source[0]} for source, _ in kinds))
    config = {"score": "quals", "contrast": asdict(contrast(0.0, 3e-2)), "seed": 0, "device": "cpu"}
    inputs = {"model": tmp_path / "model", "scores": tmp_path}
    with pytest.raises(
        TrainingDiverged, match=r"test: collapsed: of the summaries of 32 documents 3% differ from each other \(\d+% before\)"
    ):
        train_contrastive(config, inputs, tmp_path / "out", tmp_path / "checkpoints", Quiet())
    assert not (tmp_path / "out").exists()


def test_an_edit_goes_with_a_reference_of_its_size() -> None:
    positives = [([0] * n, [0]) for n in (2, 4, 6, 8)]
    assert beside(positives, [9, 1, 5], lambda number: (number, 0)) == [1, 1, 5, 9]  # of fewer one is taken twice
    assert beside(positives, [9, 1, 5, 7, 2], lambda number: (number, 0)) == [1, 5, 7, 9]  # of more the first


def test_a_batch_of_the_worlds_summaries_is_padding_by_a_tenth_at_most() -> None:
    rows = list(documents(make_world(1), 1, 2000, Noise(0.4, 0.6, 0.85)))
    tokenizer = train_tokenizer([row[side] for row in rows for side in ("document", "summary")], 1600)
    pairs = [tuple(tokenizer([row["document"], row["summary"]])["input_ids"]) for row in rows]

    def padding(lengths: list[Any]) -> float:
        cut = list(islice(batches(lengths, 32, 0), len(rows) // 32))
        filled = sum(len(side) for batch in cut for index in batch for side in pairs[index])
        return 1 - filled / sum(len(batch) * max(len(pairs[index][side]) for index in batch) for batch in cut for side in (0, 1))

    assert padding([size(*pair) for pair in pairs]) < 0.1 < padding([sum(map(len, pair)) for pair in pairs])


REFERENCE = Judged("Mara moved to Kelso. She wrote Emma.", -0.1, {"Kelso": -0.1, "Emma": 0.0})


def test_an_edit_takes_a_doubted_sentence_for_the_clean_one_most_like_it() -> None:
    wrong = Judged("Mara moved to Kelso in 1984. She wrote Emma.", -5.0, {"1984": -5.0, "Emma": -0.2})
    assert edits([REFERENCE, wrong], -1.0) == [(REFERENCE.text, wrong.text)]
    assert edits([REFERENCE, wrong, wrong], -1.0) == [(REFERENCE.text, wrong.text)]
    assert edits([REFERENCE, wrong], -6.0) == []  # not doubted
    assert edits([REFERENCE, Judged(wrong.text, None, {})], -1.0) == []  # not judged
    assert edits([REFERENCE, Judged("In 1984 Mara moved to Kelso.", -5.0, {"1984": -5.0})], -1.0) == []  # none begins like it
    doubted = Judged(REFERENCE.text, -5.0, {"kelso": -5.0})
    assert edits([doubted, wrong], -1.0) == []  # the one most like it is doubted, too


def test_answers_are_in_the_units_of_the_score_and_none_where_it_is_not_of_quals() -> None:
    asked = {"answer": "1984", "document": -3.0, "summary": -1.0, "answer_only": -7.0}
    evidence = {"quals": [asked, asked | {"document": -1.5}]}
    alone = Scale(1.0, 0.0, 1.0)
    assert borne_out({"quals_worst": alone}, answers(evidence)) == borne_out({"quals_low": alone}, answers(evidence)) == {"1984": -2.0}
    assert borne_out({"quals_answer_worst": alone}, answers(evidence)) == {"1984": -7.0}
    assert borne_out({"rouge": alone}, answers(evidence)) == {}
    evidence |= {"qags": [{"summary": "Kelso", "f1": 0.0}, {"summary": None, "f1": 0.0}], "factcc": [{"text": "He sang.", "correct": 0.2}]}
    assert borne_out({"qags": alone}, answers(evidence)) == {"Kelso": 0.0}
    assert borne_out({"factcc_worst": alone}, answers(evidence)) == {"He sang.": 0.2}
    both = {"factcc": Scale(0.5, 0.6, 0.2), "quals": Scale(0.5, -1.0, 0.5)}
    assert borne_out(both, answers(evidence)) == pytest.approx({"He sang.": -2.0, "1984": -2.0})


def test_of_an_edit_only_the_token_is_punished_at_which_the_texts_part(tmp_path: Path) -> None:
    model, source = tiny(), ["Mara moved to Kelso."]
    right, wrong = ["Mara wrote it in 1984."], ["Mara wrote it in 1985. Jonas sang."]
    (way,) = forks(model, [(source, right, wrong), (source, right, right)])
    assert model.decode(way.target[: way.place]) == "Mara wrote it in" and way.right != way.target[way.place]

    def chances() -> tuple[float, float]:
        probabilities = model.logits(*(torch.tensor([ids]) for ids in (way.source, way.target))).softmax(-1)[0, way.place]
        return float(probabilities[way.right]), float(probabilities[way.target[way.place]])

    with torch.no_grad():
        good, bad = chances()
        assert float(parted(model, [way, way])) == pytest.approx(-np.log(good / (good + bad)), rel=1e-4)
    settings = replace(contrast(0.0, 1e-2), edit_weight=1.0)
    curve = train_contrast(model, [(source, ["Mara sang."])] * 8, [], [(source, right, wrong)], settings, 0, tmp_path / "a", Quiet())
    assert curve[-1]["edit_loss"] < curve[0]["edit_loss"] and "negative_loss" not in curve[0]
    with torch.no_grad():
        assert chances()[0] > chances()[1]
    with pytest.raises(ValueError, match="no candidate has an edit"):
        train_contrast(model, [(source, right)], [], [], settings, 0, tmp_path / "b", Quiet())


# Tables

PAGE = {
    "id": "p", "page": "p", "title": "Coach list", "header": ["Coach", "Side", "Matches"],
    "rows": [["Mara Velling", "the Hawks", "31"], ["Jonas Falk", "the Rams", "1,200"], ["Ruth Okoye", "the Hawks", "44"]],
    "text": "Mara Velling coached the Hawks for 31 matches. Jonas Falk liked cake a lot. The Rams met the Hawks in spring. "
    "The Rams were trained by Jonas Falk.",
}  # fmt: skip


def test_a_table_is_linearised_with_cells_that_the_question_names_linked() -> None:
    found = linearise("Who led the Rams?", "T", ["a", "b"], [["The Rams", "Ann"], ["x", ""]])
    assert found == ["Who led the Rams?", SEP, "T", COL, "a", COL, "b", ROW, LINK, "The Rams", COL, "Ann", ROW, "x", COL, ""]
    assert [type(part) is Special for part in found].count(True) == 8


def test_reading_comprehension_is_turned_round_on_the_sentence_of_the_answer() -> None:
    source, target = inverted("Jonas sang. Mara Velling wrote Silent Harbour in 1984.", "Who wrote Silent Harbour?", "Mara Velling") or (
        [],
        [],
    )
    assert source == ["Mara Velling wrote Silent Harbour in 1984.", SEP, "Mara Velling", SEP, "Silent Harbour"]
    assert target == ["Who wrote Silent Harbour?"]


def test_table_qa_shares_its_encoder_and_survives_saving(tmp_path: Path) -> None:
    model = TableQA.from_base(tiny())
    questions = [
        {"question": text, "title": "T", "header": ["a"], "rows": [["b"]], "answer": text, "short_answer": "Mara" if n % 2 else None}
        for n, text in enumerate(TEXTS)
    ]
    train_table_qa(model, questions, TrainingSettings(6, 8, 1e-2, warmup=1), 0, tmp_path / "checkpoints", Quiet())
    names = dict(model.long.model.named_parameters())
    short = dict(model.short.model.named_parameters())
    assert all((names[n] is short[n]) == ("decoder" not in n) for n in names)
    assert not torch.equal(names["model.decoder.layers.0.fc1.weight"], short["model.decoder.layers.0.fc1.weight"])
    model.save(tmp_path / "model")
    loaded = TableQA.load(tmp_path / "model")
    for form in ("long", "short"):
        assert loaded.answer(questions[:3], form) == model.answer(questions[:3], form)


# Corpora


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a": 1}\n{"a": \n', "row 2: not JSON"),
        (b"[1, 2]\n", "row 1: a list, not an object"),
        (b'{"a": "\xff"}\n', "row 1: not UTF-8"),
        (b'{"a": 1}\n{"a": "x\x00y"}\n', "row 2: has a NUL"),
    ],
)
def test_a_bad_row_is_named_by_file_row_and_rule(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    with pytest.raises(BadRow, match=f"{path}: {says}"):
        list(read_rows(path))


def test_bom_crlf_and_gzip_are_read_as_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('\ufeff{"a": "x\u2028y"}\r\n\r\n{"a": 2}\r\n'.encode())
    assert list(read_rows(tmp_path / "a.jsonl")) == [{"a": "x\u2028y"}, {"a": 2}]
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"a": 3}'))
    assert list(read_rows(tmp_path / "b.jsonl.gz")) == [{"a": 3}]


def test_rows_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"a": 1}])

    def breaks() -> object:
        yield {"a": 2}
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_rows(path, breaks())  # type: ignore[arg-type]
    assert list(read_rows(path)) == [{"a": 1}]


@pytest.mark.parametrize(
    ("reader", "row", "says"),
    [
        ("xsum", {"id": "1", "document": " ", "summary": "s"}, "field 'document' is empty"),
        ("dialogsum", {"fname": "1", "dialogue": "d"}, "field 'summary1' is absent"),
        ("scitldr", {"paper_id": "1", "source": "text", "target": ["t"]}, "must be lists"),
        ("fetaqa", {"feta_id": 1, "table_array": [["a", "b"], ["c"]]}, "widths \\[1, 2\\]"),
        ("squad", {"data": [{"paragraphs": [{"qas": []}]}]}, "field 'context' is absent"),
    ],
)
def test_readers_name_what_a_row_lacks(tmp_path: Path, reader: str, row: dict[str, object], says: str) -> None:
    path = tmp_path / "f.json"
    path.write_text(json.dumps(row))
    with pytest.raises(BadRow, match=f"row 1: .*{says}"):
        list(read(path, FORMATS[reader]))


def test_near_duplicates_are_one_cluster_and_one_split() -> None:
    text = " ".join(f"word{n}" for n in range(60))
    near, far = text.replace("word30", "other"), " ".join(f"term{n}" for n in range(60))
    names = clusters([text, far, near, text])
    assert names[0] == names[2] == names[3] != names[1]
    assert assign(names[0], 0.3, 0.3) == assign(names[2], 0.3, 0.3)
    shares = [assign(str(n), 0.1, 0.2) for n in range(4000)]
    assert shares.count("test") / 4000 == pytest.approx(0.2, abs=0.02)
    assert all(assign(str(n), 0.1, 0.2) == "test" for n in range(4000) if assign(str(n), 0.0, 0.1) == "test")


def test_settings_refuse_numbers_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="steps is 0; it must be at least 1"):
        TrainingSettings(0, 1, 0.1)
    with pytest.raises(ValueError, match="learning_rate is -1"):
        TrainingSettings(1, 1, -1)
    assert from_scratch(TEXTS, Network(16, 1, 1, 2, 500), Window(8, 8), 0).sources([["a " * 99]])[0].__len__() == 8
    assert isinstance(tiny(), Seq2Seq)


def test_the_library_installs_without_the_pipeline(tmp_path: Path) -> None:
    """As `pip install git+...` does: its modules and its grammar, and nothing of the clone beside them."""
    shutil.copytree(ROOT / "factloop", tmp_path / "source" / "factloop", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / "source")
    for name in ("tasks", "flows", "mlflow", "data"):
        (tmp_path / "source" / name).mkdir()
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", str(tmp_path / "site")]
    subprocess.run([sys.executable, "-m", "pip", *install, str(tmp_path / "source")], check=True)
    assert {path.name for path in (tmp_path / "site").iterdir()} == {"factloop", "factloop-0.1.0.dist-info"}
    pipeline = ("mlflow", "prefect", "dvc", "great_expectations", "pandas", "rich", "jinja2", "matplotlib", "pydantic", "tasks", "flows")
    code = f"""
import sys
sys.modules |= dict.fromkeys({pipeline}, None)
from factloop.judges import bleu, overlap, quals
from factloop.tables.grammar import load_grammar
assert load_grammar() and quals and bleu(["a b c d"], ["a b c d"]) > 99 and overlap(["Mara won."], ["Mara."])[0]["unigrams"] == 1"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "site")}, check=True)
