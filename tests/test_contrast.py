"""Contrast: what chooses, what each setting changes, evaluations on the way, and rounds by the real command."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.noise import at_level
from benchmarks.noise import plot as draw
from benchmarks.training import padding
from factloop.contrast import Judged, edits, train_contrast
from factloop.contrast.mix import Scale, mix_of, mixed, scored_rows
from factloop.corpora.rows import read_rows, write_rows
from factloop.settings import ContrastSettings, TrainingSettings, ValidationSettings
from factloop.statistics.parting import Evaluation, best_round, parted
from factloop.steps import summaries, summarizer, validation
from factloop.training import CannotTrain, TrainingDiverged
from factloop.training.pairs import train_pairs
from factloop.world.generate import Noise, documents
from factloop.world.vocabulary import make_world
from tasks.evaluations import HEADLINES
from tasks.followed import Line, plot
from tasks.grids import arm_profiles, load_grid
from tasks.judges import MODELS, selecting, wanted, wanted_by_any
from tasks.profiles import ProfileError, load_profile
from tests.conftest import ROOT, Store
from tests.test_training import PAIRS, Killed, Quiet, tiny, weights

# What chooses


@pytest.mark.unit
def test_a_mix_counts_each_judge_in_standard_deviations_of_the_candidates() -> None:
    candidates = [{"quals": -1.0, "factcc": 0.9}, {"quals": -3.0, "factcc": 0.5}, {"quals": -100.0, "factcc": None}]
    mix = mix_of({"quals": 1.0, "factcc": 3.0}, candidates)
    assert mix == {"quals": Scale(0.25, -2.0, 1.0), "factcc": pytest.approx(Scale(0.75, 0.7, 0.2))}
    assert mixed(mix, {"quals": 0.0, "factcc": 0.9}) == pytest.approx(0.25 * 2 + 0.75 * 1)
    assert mixed(mix, {"quals": None, "factcc": 0.9}) is None  # no evidence: no candidate
    alone = mix_of({"quals": 2.0}, candidates)
    assert mixed(alone, candidates[1]) == -3.0  # keeps its units
    same = mix_of({"quals": 1.0, "factcc": 1.0}, [{"quals": -1.0, "factcc": 0.9}, {"quals": -3.0, "factcc": 0.9}])
    assert mixed(same, {"quals": -1.0, "factcc": 0.9}) == 0.5  # FactCC says the same of all, so nothing
    assert mixed(mix_of({"quals": 1.0, "factcc": 1.0}, []), {"quals": None, "factcc": None}) is None


VERDICTS = {
    "good": {"quals": -0.1, "qags": 0.9, "factcc": 0.8}, "bad": {"quals": -2.0, "qags": 0.2, "factcc": 0.4}, "odd": {"quals": -1.0, "qags": None, "factcc": 0.1},
}  # fmt: skip


@pytest.mark.unit
@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("quals", [-0.1, [-2.0, -1.0]]),
        ("qags", [0.9, [0.2, None]]),
        ("factcc", [0.8, [0.4, 0.1]]),
        ("rouge", [100.0, [0.0, 0.0]]),
        ({"quals": 1.0, "factcc": 1.0}, [pytest.approx((2.8 + 11 / 3) / 2), pytest.approx([0.0, 0.0])]),
        ({"quals": 3.0, "factcc": 1.0}, [pytest.approx((3 * 2.8 + 11 / 3) / 4), pytest.approx([-0.5, 0.5])]),
    ],
)
def test_any_judge_or_a_mix_scores_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score: Any, expected: list[Any]) -> None:
    def judge_pairs(config: Any, inputs: Any, pairs: list[tuple[str, str]], *others: Any) -> Iterator[dict[str, Any]]:
        return iter([{"scores": {**VERDICTS[text]}, "statuses": {"quals": "scored"}, "evidence": {}} for _, text in pairs])

    monkeypatch.setattr(summaries, "judge_pairs", judge_pairs)
    write_rows(tmp_path / "candidates.jsonl", [{"id": "1", "document": "d", "summary": "good", "candidates": ["bad", "odd"]}])
    metrics = summaries.score_candidates({}, {"candidates": tmp_path}, tmp_path, tmp_path, Quiet())
    (row,) = scored_rows(score, read_rows(tmp_path / "scores.jsonl"))
    assert [row["summary_score"], row["candidate_scores"]] == expected
    assert (metrics["references/qags"], metrics["candidates/qags"], metrics["candidates/quals"]) == (0.9, 0.2, -1.5)


@pytest.mark.unit
def test_models_that_select_are_of_the_training_role_and_only_where_something_is_chosen_by_them() -> None:
    more = ("answer-extractor", "question-generator", "question-answerer")
    assert wanted(load_profile("world"), "training") == ("qagen",)
    assert wanted(load_profile("world", ["summarizer.score={quals: 0.5, factcc: 0.5}"]), "training") == ("qagen", "factcc")
    assert wanted(load_profile("world", ["summarizer.score=qags_worst"]), "training") == ("qagen", *more)
    assert wanted(load_profile("world", ["summarizer.rounds=2"]), "training") == ("qagen",)  # the oracle stands for the truth
    news = load_profile("news", ["summarizer.rounds=2"])
    assert wanted(news, "training") == ("qagen", "factcc") and selecting(news) == ("qagen",)  # it looks on, and chooses nothing
    assert wanted(load_profile("world"), "gate") == ("qagen", *more, "factcc")
    for score, says in (("qags", "asks for qags, and judges.qags_models does not say"), ("{factcc: 1}", "asks for factcc"), ("{quals: 0}", "greater than 0"), ("{}", "score")):  # fmt: skip
        with pytest.raises(ProfileError, match=says):
            load_profile("fault", [f"summarizer.score={score}"])


@pytest.mark.unit
def test_edits_compare_answers_as_the_judge_does_whose_tokenizer_spaces_and_folds_them() -> None:
    clean = Judged("Zoë paid the club.", -0.1, {})
    for answer in ("$ 4. 5 million", "$4.5 Million"):
        wrong = Judged("Zoë paid the club $4.5 million.", -5.0, {answer: -5.0})
        assert edits([clean, wrong], -1.0) == [(clean.text, wrong.text)]
    accents = Judged("Zoë paid the club.", -5.0, {"zoe": -5.0})
    assert edits([accents, wrong], -1.0) == []  # the one most like it is doubted, too


# What each setting changes

ROWS: list[dict[str, Any]] = [
    {"document": f"document {number}", "summary": f"Mara moved to Kelso {number}.", "candidates": texts,
     "scores": [{"quals": value} for value in (score, *scores)], "answers": [{}, *({"quals": said} for said in answers)]}
    for number, (score, texts, scores, answers) in enumerate([
        (-0.1, ["Mara moved to Kelso 0 in 1984.", "Mara sang."], [-5.0, -0.05], [{"1984": -5.0}, {}]),
        (-0.2, ["Mara moved to Kelso 1 in 1985.", "Mara ran."], [-0.9, -0.15], [{"1985": -0.9}, {}]),
        (-0.3, ["Jonas moved.", "Mara won."], [-3.0, -0.01], [{"Jonas": -3.0}, {}]),
        (-0.4, ["Jonas ran.", "Mara lost."], [-2.0, None], [{"Jonas": -2.0}, {}]),
    ])
]  # fmt: skip
PLAIN = ContrastSettings(
    TrainingSettings(4, 4, 1e-3, warmup=1), positive_share=0.5, negative_share=0.5, negative_weight=1.0, edit_weight=1.0
)


def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> tuple[list[str], list[str], list[str]]:
    """The targets of S+, S- and the wrong side of edits that the step trains on."""
    found: list[Any] = []

    def take(model: Any, positives: Any, negatives: Any, pairs: Any, *others: Any) -> None:
        found.append(([target for _, (target,) in positives], [target for _, (target,) in negatives], [wrong for *_, (wrong,) in pairs]))

    monkeypatch.setattr(summarizer, "train_contrast", take)
    tiny().save(tmp_path / "model")
    write_rows(tmp_path / "scores.jsonl", ROWS)
    config = {"score": "quals", "contrast": asdict(replace(PLAIN, **changed)), "seed": 0, "device": "cpu"}
    inputs = {"model": tmp_path / "model", "scores": tmp_path}
    summarizer.train_contrastive(config, inputs, tmp_path / "out", tmp_path / "checkpoints", Quiet())
    return found[0]  # type: ignore[no-any-return]


S_PLUS, S_MINUS, EDITS = (
    ["Mara moved to Kelso 0.", "Mara moved to Kelso 1."],
    ["Mara moved to Kelso 0 in 1984.", "Jonas moved."],
    ["Mara moved to Kelso 0 in 1984."],
)
SELECTS: dict[str, tuple[Any, tuple[list[str], list[str], list[str]]]] = {
    "positive_share": (0.25, (S_PLUS[:1], S_MINUS, EDITS)),
    "negative_share": (0.25, (S_PLUS, S_MINUS[:1], EDITS)),
    "intersect": (True, (S_PLUS[:1], S_MINUS[:1], EDITS)),
    "own": (1, ([*S_PLUS, "Mara sang.", "Mara ran.", "Mara won."], S_MINUS, EDITS)),
    "doubt": (0.5, (S_PLUS, S_MINUS, [*EDITS, "Mara moved to Kelso 1 in 1985."])),
}  # fmt: skip


@pytest.mark.unit
def test_settings_that_select_change_the_set_that_they_are_of_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sets(tmp_path / "plain", monkeypatch) == (S_PLUS, S_MINUS, EDITS)
    for name, (value, expected) in SELECTS.items():
        assert sets(tmp_path / name, monkeypatch, **{name: value}) == expected, name
    assert sets(tmp_path / "none", monkeypatch, edit_weight=0.0) == (S_PLUS, S_MINUS, [])


def curve(tmp_path: Path, **changed: Any) -> list[dict[str, float]]:
    wrong = [(source, ["Jonas wrote nothing."]) for source, _ in PAIRS]
    parts = [(source, target, ["Mara Velling sang."]) for source, target in PAIRS]
    return train_contrast(tiny(), PAIRS, wrong, parts, replace(PLAIN, **changed), 0, tmp_path, Quiet())


TRAINS = {"negative_weight", "edit_weight", "collapse", "training"}


@pytest.mark.unit
def test_settings_that_train_change_the_term_or_the_limit_that_they_are_of(tmp_path: Path) -> None:
    plain = curve(tmp_path / "plain")
    less = curve(tmp_path / "negative", negative_weight=0.5)[0]
    ratio = (plain[0]["loss"] - less["loss"]) / plain[0]["negative_loss"]  # half its weight, of its share of the tokens
    assert 0.2 < ratio < 0.4 and less["negative_loss"] == plain[0]["negative_loss"]
    more = curve(tmp_path / "edit", edit_weight=3.0)[0]
    assert more["loss"] - plain[0]["loss"] == pytest.approx(2 * plain[0]["edit_loss"], rel=1e-4)
    assert len(curve(tmp_path / "steps", training=replace(PLAIN.training, steps=6))) == 6 and len(plain) == 4
    harsh = replace(PLAIN, training=TrainingSettings(30, 8, 0.01, warmup=1), negative_weight=50.0, edit_weight=0.0)
    train_pairs(learned := tiny(), PAIRS, TrainingSettings(80, 8, 1e-2, warmup=5), 0, tmp_path / "mle", Quiet())
    with pytest.raises(TrainingDiverged, match="collapsing"):
        train_contrast(copy.deepcopy(learned), PAIRS, PAIRS, [], harsh, 0, tmp_path / "collapse", Quiet())
    assert len(train_contrast(learned, PAIRS, PAIRS, [], replace(harsh, collapse=1e9), 0, tmp_path / "none", Quiet())) == 10


@pytest.mark.unit
def test_each_setting_of_contrast_has_a_test_of_what_it_changes() -> None:
    assert {field.name for field in fields(ContrastSettings)} == {*SELECTS, *TRAINS}
    assert {field.name for field in fields(ValidationSettings)} == {"documents", "evaluations", "margin", "parted"}  # below


# Whether the truth follows the judge


def looked(label: str, score: float, wrong: int, measure: str = "hallucination_rate", of: int = 60) -> Evaluation:
    """With so many of 60 summaries wrong, or right where that is what is measured."""
    return Evaluation(label, [score + 0.01 * n for n in range(of)], [float(n < wrong) for n in range(of)], measure)


@pytest.mark.unit
def test_judge_and_truth_have_parted_where_one_rises_and_the_other_surely_falls_for_so_many_evaluations() -> None:
    good = [looked("step 0", -1.0, 30), looked("step 10", -0.8, 20)]
    assert parted(good, 1) is None
    one = [*good, looked("step 20", -0.6, 35)]
    apart = parted(one, 1)
    assert apart and apart.good == 1
    assert apart.told.startswith(
        "the judge's score rose by 0.200 from step 10 to step 20, and hallucination_rate went the wrong way by 0.250 [0.1"
    )
    assert "1 time in a row; step 10 is the last good one" in apart.told
    assert parted(one, 2) is None
    assert (two := parted([*one, looked("step 30", -0.5, 40)], 2)) and two.good == 1 and "2 times in a row; step 10 is" in two.told
    assert parted([*one, looked("step 30", -0.5, 20)], 1) is None  # back again
    assert parted([*good, looked("step 20", -0.6, 21)], 1) is parted([*good, looked("step 20", -0.6, 23)], 1) is None  # not surely
    assert parted([*good, looked("step 20", -0.9, 35)], 1) is None  # the judge says so, too
    higher = [looked("round 0", 0.0, 30, "factcc"), looked("round 1", 0.1, 10, "factcc")]
    assert parted(higher, 1) and not parted([higher[0], looked("round 1", 0.1, 50, "factcc")], 1)
    worse = looked("step 20", -0.6, 45)
    missing = [replace(good[0], score=[None, *good[0].score[1:]]), replace(worse, second=[*worse.second[:-1], None])]
    assert parted(missing, 1) and not parted([good[0], replace(good[1], score=[None] * 60)], 1)


@pytest.mark.unit
def test_rounds_end_where_the_score_rises_by_no_more_than_the_margin_or_the_truth_parts() -> None:
    rounds = [looked("round 0", -1.0, 30), looked("round 1", -0.5, 20), looked("round 2", -0.4, 20)]
    assert best_round(rounds, 0.0, 2) == (2, None)
    best, why = best_round(rounds, 0.2, 2)
    assert (
        best == 1
        and why
        and why.startswith("stopped: the judge's score rose by +0.100 [+0.100, +0.100] from round 1 to round 2, and more than 0.2 is")
    )
    assert best_round([*rounds, looked("round 3", -0.6, 10)], 0.0, 2)[0] == 2
    assert best_round([*rounds, looked("round 3", -0.6, 10)], -1.0, 2) == (3, None)  # a fall that is let pass
    best, why = best_round([*rounds, looked("round 3", -0.1, 50)], 0.0, 1)
    assert best == 2 and why and "hallucination_rate went the wrong way by 0.500" in why


SETTINGS = ValidationSettings(documents=20, evaluations=4, margin=0.0, parted=2)


def world_rows() -> list[dict[str, Any]]:
    return list(documents(make_world(1), 1, 24, Noise()))


@pytest.mark.unit
def test_validation_documents_are_scored_by_the_mix_and_by_what_stands_for_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = world_rows()
    said = [row["summary"] for row in rows]
    monkeypatch.setattr(validation, "beam_search", lambda model, texts, *others: said[: len(texts)])

    def judge_pairs(config: Any, inputs: Any, pairs: list[tuple[str, str]], *others: Any) -> Iterator[dict[str, Any]]:
        return iter([{"scores": {"quals": -1.0, **config.get("more", {})}, "statuses": {}, "evidence": {}} for _ in pairs])

    monkeypatch.setattr(validation, "judge_pairs", judge_pairs)
    texts = [{"quals": quals, "rouge": rouge} for quals, rouge in ((0.0, 0.0), (-2.5, 99.0), (-1.5, 101.0))]
    write_rows(tmp_path / "scores.jsonl", [{"scores": texts}])  # of the candidates the means are -2 and 100, the deviations 0.5 and 1
    config = {"score": {"quals": 1.0, "rouge": 1.0}, "validation": asdict(SETTINGS), "decoding": {}}

    def scores(documents: list[dict[str, Any]], **more: Any) -> tuple[int, dict[str, Any]]:
        write_rows(tmp_path / "validation", documents)
        found = validation.judged(
            tiny(), config | {"more": more}, {"validation": tmp_path / "validation", "mix": tmp_path}, tmp_path, Quiet()
        )
        assert {row["measure"] for row in found} == {next(name for name in found[0]["scores"] if name != "score")}
        return len(found), found[0]["scores"]

    assert scores(rows) == (20, {"score": 1.0, "hallucination_rate": 0.0, "fact_recall": 1.0})
    bare = [{name: row[name] for name in ("id", "document", "summary")} for row in rows]
    assert scores(bare, qags=0.3, factcc=0.4)[1] == {"score": 1.0, "factcc": 0.4}
    assert set(scores(bare)[1]) == {"score", "values"}  # QUALS chooses, and is no witness of itself
    with pytest.raises(CannotTrain, match="of 20 validation documents no summary has a score by quals, rouge"):
        scores(bare, quals=None)
    with pytest.raises(CannotTrain, match="no summary has a score by factcc"):
        scores(bare, factcc=None)
    with pytest.raises(CannotTrain, match="no validation documents to judge by: raise data.split.validation"):
        scores([])


def watched(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[int], progress: Quiet, settings: ValidationSettings = SETTINGS
) -> tuple[dict[str, Any], list[Path]]:
    """A contrast of 20 steps with an evaluation after each fifth, at which so many of 20 summaries are wrong and the judge is pleased more and more."""
    made: list[Path] = []

    def judged(model: Any, config: Any, inputs: Any, place: Path, progress: Any) -> list[dict[str, Any]]:
        made.append(place)
        model.model.eval()  # as beam search does
        bad = wrong[int(place.name) * settings.evaluations // 20]
        return [
            {"id": str(n), "output": "", "measure": "hallucination_rate", "scores": {"score": float(place.name), "hallucination_rate": float(n < bad)}}
            for n in range(20)
        ]  # fmt: skip

    monkeypatch.setattr(validation, "judged", judged)
    monkeypatch.setattr(summarizer, "check", lambda *given: None)  # a model that has learned nothing says anything
    tiny().save(folder / "model")
    rows = [{"document": source[0], "summary": target[0], "candidates": ["Jonas."], "scores": [{"quals": 0.0}, {"quals": -1.0}], "answers": [{}, {}]} for source, target in PAIRS]  # fmt: skip
    write_rows(folder / "scores.jsonl", rows)
    contrast = ContrastSettings(TrainingSettings(20, 8, 1e-3, warmup=1, checkpoint_every=4), 0.5, 0.5, 0.1)
    config = {"score": "quals", "contrast": asdict(contrast), "seed": 0, "device": "cpu", "validation": asdict(settings)}
    inputs = {"model": folder / "model", "scores": folder}
    return validation.train_contrastive(config, inputs, folder / "out", folder / "checkpoints", progress), made


def saved(folder: Path) -> dict[str, torch.Tensor]:
    return weights(validation.Seq2Seq.load(folder / "out" / "model"))


@pytest.mark.unit
@pytest.mark.invariant
def test_a_training_stops_where_judge_and_truth_part_and_keeps_the_last_good_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = Quiet()
    metrics, made = watched(tmp_path / "whole", monkeypatch, [10, 8, 20, 20, 20], quiet)
    assert [int(place.name) for place in made] == [0, 6, 10, 16] and metrics["good_step"] == 6  # entries of the curve come each second step
    logged = {step: entry for step, entry in quiet.seen if "validation/score" in entry}
    assert (
        logged[10]["validation/score"] == 10 and logged[10]["validation/hallucination_rate"] == 1.0 and "validation/score.low" in logged[6]
    )
    said = capsys.readouterr().out
    assert "stopped: the judge's score rose by 10.000 from step 6 to step 16, and hallucination_rate went the wrong way by 0.600" in said
    assert "2 times in a row; step 6 is the last good one, and is taken" in said
    never, all_made = watched(tmp_path / "never", monkeypatch, [10, 8, 20, 8, 20], Quiet())
    assert len(all_made) == 5 and "good_step" not in never
    twice, seen = watched(tmp_path / "twice", monkeypatch, [10, 8, 20], Quiet(), replace(SETTINGS, evaluations=2))
    assert [int(place.name) for place in seen] == [0, 10, 20] and "good_step" not in twice
    assert watched(tmp_path / "soon", monkeypatch, [10, 8, 20], Quiet(), replace(SETTINGS, evaluations=2, parted=1))[0]["good_step"] == 10
    with pytest.raises(
        TrainingDiverged, match="test: judge and truth part from the start: the judge's score rose by 6.000 from step 0 to step 6"
    ):
        watched(tmp_path / "bad", monkeypatch, [0, 20], Quiet(), replace(SETTINGS, parted=1))

    class Dies(Quiet):
        def log(self, metrics: dict[str, float], step: int) -> None:
            if step == 14 and "loss" in metrics:
                raise Killed

    with pytest.raises(Killed):
        watched(tmp_path / "parts", monkeypatch, [10, 8, 20, 20, 20], Dies())
    again, left = watched(tmp_path / "parts", monkeypatch, [10, 8, 20, 20, 20], Quiet())
    assert [int(place.name) for place in left] == [16] and again == metrics  # what was evaluated is not again
    whole, parts = saved(tmp_path / "whole"), saved(tmp_path / "parts")
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert not any(torch.equal(value, saved(tmp_path / "never")[name]) for name, value in whole.items() if value.ndim > 1)


@pytest.mark.unit
@pytest.mark.invariant
def test_a_training_that_is_looked_at_is_the_same_as_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched(tmp_path / "seen", monkeypatch, [10, 8, 8, 8, 8], Quiet())
    monkeypatch.setattr(validation, "Watch", lambda *given: lambda step: None)
    watched(tmp_path / "unseen", monkeypatch, [], Quiet())
    one, other = saved(tmp_path / "seen"), saved(tmp_path / "unseen")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.unit
def test_the_plot_has_a_panel_for_the_rounds_and_for_each_training(tmp_path: Path) -> None:
    estimates = looked("", -1.0, 30).estimates, looked("", -0.5, 20).estimates
    score, second = (list(side) for side in zip(*estimates, strict=True))
    lines = [Line(name, [0, 1], score, second, "hallucination_rate") for name in ("rounds", "summarizer-contrastive")]
    figure = plot(lines)
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == ["rounds", "summarizer-contrastive"]
    assert [axis.get_ylabel() for axis in figure.axes].count("hallucination_rate (lower is better)") == 2
    figure.savefig(tmp_path / "plot.png")
    assert np.isclose(score[1].value - score[0].value, 0.5)


@pytest.mark.flow
def test_rounds_are_runs_of_their_own_done_once_and_the_best_is_measured(stores: tuple[Store, Store]) -> None:
    store, _ = stores
    retrain = ("-m", "flows.retrain", "--profile", "fault", "--set")
    told = (*retrain, "summarizer.rounds=3", "--set", "summarizer.validation={documents: 6, evaluations: 2, margin: -100}")
    assert "candidates-round-2" in store.dies("training:step@summarizer-contrastive-round-2:2", *told)
    first, again = (store.ends(*told) for _ in range(2))
    assert "summarizer-contrastive-round-2: goes on from step 1 of 2" in first.stdout
    assert "rounds ended: 3 were asked for; that of round 3 is taken" in first.stdout
    assert "nothing changed" in again.stdout
    parent = store.runs("tags.step = 'retrain'")[0]
    assert "validation.png" in store.files(parent.info.run_id)
    runs = {run.data.tags["step"]: run.data.metrics for run in store.runs("attributes.status = 'FINISHED'")}
    for number in (2, 3):
        assert {f"candidates-round-{number}", f"scores-round-{number}", f"summarizer-contrastive-round-{number}"} <= set(runs)
    looked_at = [runs[f"validate-summarizer-{name}"] for name in ("mle", "contrastive", "contrastive-round-2", "contrastive-round-3")]
    assert all({"score", "score.low", "hallucination_rate", "fact_recall"} <= set(metrics) for metrics in looked_at)
    assert runs["summarizer-contrastive-round-3"]["train/validation/score"] == looked_at[-1]["score"]  # at its last step
    assert "evaluate-summarizer-contrastive-round-3" in runs and "evaluate-summarizer-contrastive-round-2" not in runs
    asked = store.ends(*retrain, "summarizer.rounds=2")
    assert "rounds stopped: the judge's score rose by +0.000" in asked.stdout  # two steps change no summary


@pytest.mark.unit
def test_the_gain_over_noise_is_of_the_arms_that_were_trained_in_all_worlds(tmp_path: Path) -> None:
    grid = load_grid(ROOT / "configs" / "grids" / "noise.yaml")

    def rows(*wrong: int) -> list[list[dict[str, Any]]]:
        scores = {"fact_recall": 0.5, "rougeL": 1.0}
        return [[{"scores": scores | {"hallucination_rate": float(n < some)}} for n in range(20)] for some in wrong]

    worlds = {
        1: {"mle": rows(9), "mle-longer": rows(10), "positive-only": rows(6), "contrastive": rows(4)},
        2: {"mle": rows(9), "mle-longer": rows(11, 13), "positive-only": rows(6), "contrastive": rows(9, 7)},
    }
    told = at_level(worlds, grid)
    assert told["not trained"] == {f"positive-only-{other}": [1, 2] for other in ("20", "60", "fast")}
    gain = told["differences"]["contrastive less mle-longer"]
    assert gain["hallucination_rate"]["value"] == pytest.approx(-0.25) and gain["rougeL"]["value"] == 0
    assert told["differences"]["contrastive less positive-only"]["hallucination_rate"]["value"] == pytest.approx(0)
    assert told["arms"]["mle"]["hallucination_rate"]["value"] == pytest.approx(0.45)
    nothing = at_level({**worlds, 2: {arm: rows for arm, rows in worlds[2].items() if arm != "contrastive"}}, grid)
    assert nothing["not trained"]["contrastive"] == [2] and set(nothing["arms"]) == {"mle", "mle-longer", "positive-only"}
    draw({0.0: nothing, 0.6: told}, grid, tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 5000


@pytest.mark.unit
def test_an_ablation_refuses_rounds_that_it_would_not_train() -> None:
    grid = load_grid(ROOT / "configs" / "grids" / "methods.yaml")
    with pytest.raises(ProfileError, match="each arm one round, and summarizer.rounds is 2: --set summarizer.rounds=1"):
        arm_profiles(load_profile("world", ["summarizer.rounds=2"]), ["summarizer.rounds=2"], grid)
    arms = [load_profile("world", [f"summarizer.score={score}"]) for score in ("quals", "factcc", "qags")]
    assert wanted_by_any(arms, "training") == list(MODELS)


@pytest.mark.unit
def test_of_a_retrain_with_rounds_the_best_ones_evaluation_is_compared() -> None:
    names = [
        "evaluate-table-qa-plain",
        "evaluate-table-qa",
        "evaluate-summarizer-mle",
        "evaluate-summarizer-contrastive-round-2",
        "evaluate-summarizer-contrastive",
    ]
    first = [next(name for name in names if re.fullmatch(headline, name)) for headline in HEADLINES]
    assert first == ["evaluate-summarizer-contrastive-round-2", "evaluate-table-qa"]


@pytest.mark.unit
def test_padding_counts_the_tokens_that_are_not_of_a_text() -> None:
    assert padding([[([1] * 4, [1]), ([1] * 2, [1])], [([1], [1])]]) == pytest.approx(2 / 12)
