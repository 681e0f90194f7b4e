"""Ablations: their statistics, what a grid may say, and one of two arms and two seeds by the real command."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from factloop.corpora.rows import write_rows
from factloop.statistics.crossed import crossed_difference, crossed_mean, nested_mean
from tasks.ablate import compared, parallel_plot
from tasks.grids import Grid, arm_profiles, load_grid
from tasks.memo import Done
from tasks.profiles import ProfileError, load_profile
from tests.conftest import ROOT, Clone

SMOKE = tuple[Clone, subprocess.CompletedProcess[str]]
GRID: dict[str, Any] = {
    "reference": "mle",
    "steps": 3,
    "metrics": ["fact_recall", "rougeL", "quals"],
    "arms": {"mle": None, "contrastive": {}, "positive-only": {"contrast.negative_weight": 0.0}},
}


@pytest.mark.unit
def test_an_interval_over_seeds_too_covers_the_truth_where_one_over_examples_does_not() -> None:
    rng = np.random.default_rng(0)
    covered = {"both": 0, "examples": 0}
    for trial in range(40):
        table = rng.normal(0, 0.5, (12, 1)) + rng.normal(0, 1, 80) + rng.normal(0, 0.2, (12, 80))
        alone = crossed_mean(table[:1], seed=trial)
        both = crossed_mean(table, seed=trial)
        covered["both"] += both.low <= 0 <= both.high
        covered["examples"] += alone.low <= 0 <= alone.high
    assert covered["both"] >= 33 and covered["examples"] <= 29


@pytest.mark.unit
def test_differences_are_paired_by_seed_and_example_and_none_counts_on_neither_side() -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 10, (3, 80)) + rng.normal(0, 10, 80)
    found, p = crossed_difference(hard + 0.5 + rng.normal(0, 0.5, (3, 80)), hard)
    assert 0.3 < found.low < found.value < found.high < 0.7 and p < 0.001
    same, even = crossed_difference(hard, hard)
    assert (same.low, same.value, same.high) == (0, 0, 0) and even == 1
    gaps = np.where(rng.random((3, 80)) < 0.3, np.nan, hard)
    assert crossed_difference(gaps + 1, hard)[0].value == pytest.approx(1)
    assert crossed_mean([[1, np.nan, 3], [np.nan, np.nan, 5]]).value == 3
    with pytest.raises(ValueError, match=r"\(3, 80\) against \(2, 80\)"):
        crossed_difference(hard, hard[:2])


@pytest.mark.unit
def test_false_alarms_are_as_rare_as_said() -> None:
    rng = np.random.default_rng(2)
    p_values = [crossed_difference(*rng.normal(0, 1, (2, 8, 60)), seed=trial)[1] for trial in range(60)]
    assert 0 < np.mean(np.array(p_values) < 0.2) < 0.4 and np.mean(np.array(p_values) < 0.01) < 0.08


@pytest.mark.unit
def test_groups_with_examples_of_their_own_are_drawn_whole_and_then_their_examples() -> None:
    rng = np.random.default_rng(3)
    alike = [rng.normal(0.3, 1, 200) for _ in range(6)]
    apart = [one + shift for one, shift in zip(alike, (-1, 1, -1, 1, -1, 1), strict=True)]
    (close, p), (wide, even) = nested_mean(alike), nested_mean(apart)
    assert close.value == pytest.approx(wide.value) == pytest.approx(np.mean([one.mean() for one in alike]))
    assert close.low > 0 and p < 0.01 and wide.low < 0 < wide.high and even > 0.2  # how groups differ counts
    assert nested_mean([[1, np.nan, 3], [5]])[0].value == 3.5
    with pytest.raises(ValueError, match="not one value"):
        nested_mean([[np.nan], [1.0]])


@pytest.mark.unit
def test_the_grid_of_the_project_is_one_and_its_arms_differ_in_the_method_alone() -> None:
    grid = load_grid(ROOT / "configs" / "grids" / "methods.yaml")
    arms = arm_profiles(load_profile("world", ["seed=7"]), ["seed=7"], grid)
    assert arms["mle"] is None and len(arms) == 7
    trained = {name: profile for name, profile in arms.items() if profile}
    for profile in trained.values():
        assert profile.summarizer.contrast.training.steps == grid.steps and profile.seed == 7
        shared = profile.model_dump(exclude={"summarizer": {"score", "contrast"}})
        assert shared == load_profile("world", ["seed=7"]).model_dump(exclude={"summarizer": {"score", "contrast"}})
    assert len({json.dumps(p.model_dump(mode="json"), sort_keys=True) for p in trained.values()}) == 6


@pytest.mark.unit
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"reference": "nobody"}, "reference 'nobody' is none of the arms contrastive, mle, positive-only"),
        ({"steps": 0}, "steps"),
        ({"metrics": []}, "metrics"),
        ({"arms": {"mle": None}}, "arms"),
        ({"arms": {"mle": None, "../x": {}}}, "arms"),
        ({"arms": {"mle": None, "more": {"contrast.training.steps": 5}}}, "'more' sets 'contrast.training.steps'"),
        ({"arms": {"mle": None, "base": {"likelihood.steps": 5}}}, "'base' sets 'likelihood.steps'"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_no_grid_is_refused_with_the_reason(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(GRID | change))
    with pytest.raises(ProfileError, match=re.escape(says)):
        load_grid(path)
    path.write_text("[")
    with pytest.raises(ProfileError, match="not YAML"):
        load_grid(path)
    path.write_text(yaml.safe_dump(GRID | {"arms": {"mle": None, "odd": {"contrast.negative_weight": -1}}}))
    with pytest.raises(ProfileError, match="negative_weight is -1"):
        arm_profiles(load_profile("smoke"), [], load_grid(path))


def evaluation(folder: Path, name: str, scores: dict[str, np.ndarray]) -> Done:
    rows = [{"scores": {metric: None if np.isnan(v[i]) else v[i] for metric, v in scores.items()}} for i in range(60)]
    write_rows(folder / name / "examples.jsonl", rows)
    return Done(name, name, "", str(folder / name), "", {}, 0, True, "")


@pytest.mark.unit
def test_the_table_says_which_arm_is_better_where_lower_is_better_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    found: dict[str, list[Done]] = {"mle": [], "good": [], "same": []}
    for seed in (1, 2, 3):
        made_up, recall = rng.random(60), rng.random(60)
        recall[rng.random(60) < 0.1] = np.nan
        for arm, gain in (("mle", 0.0), ("good", 0.3), ("same", 0.0)):
            scores = {"hallucination_rate": made_up - gain, "fact_recall": recall - gain + rng.normal(0, 0.01, 60)}
            found[arm].append(evaluation(tmp_path, f"{arm}-{seed}", scores))
    grid = Grid.model_validate(GRID | {"metrics": ["hallucination_rate", "fact_recall"], "arms": {"mle": None, "good": {}, "same": {}}})
    cells = {(cell.arm, cell.metric): cell for cell in compared(grid, found)}
    assert {key: cell.verdict for key, cell in cells.items()} == {
        ("mle", "hallucination_rate"): "reference", ("good", "hallucination_rate"): "better", ("same", "hallucination_rate"): "not surely different",
        ("mle", "fact_recall"): "reference", ("good", "fact_recall"): "worse", ("same", "fact_recall"): "not surely different",
    }  # fmt: skip
    assert cells["good", "hallucination_rate"].difference.value == pytest.approx(-0.3)  # type: ignore[union-attr]
    parallel_plot(grid, found, list(cells.values())).savefig(tmp_path / "plot.png")
    with pytest.raises(ProfileError, match="'bleu' is no score of the examples; there are hallucination_rate, fact_recall"):
        compared(grid.model_copy(update={"metrics": ["bleu"]}), found)


@pytest.mark.flow
def test_arms_and_seeds_are_children_of_one_run_and_done_once(smoke: SMOKE, tmp_path: Path) -> None:
    clone, _ = smoke
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID | {"arms": {"mle": None, "contrastive": {}}}))
    line = ["-m", "flows.ablate", "--profile", "smoke", "--grid", str(tmp_path / "grid.yaml"), "--seeds", "4", "5"]
    first, again = (clone.run(*line) for _ in range(2))
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-3000:]
    ran = {match[1] for match in re.finditer(r"^(\S+) +\d+ s  \(", first.stdout, re.M)}
    assert ran == {f"{what}-contrastive-seed-{seed}" for what in ("train", "evaluate") for seed in (4, 5)} | {"evaluate-mle-seed-1"}
    assert again.returncode == 0 and " s  (" not in again.stdout
    tables = [result.stdout[result.stdout.index("fact_recall, 2 seeds, 3 updates") :] for result in (first, again)]
    assert tables[0] == tables[1] and tables[0].count("reference") == 3
    found = clone.ask("""
(parent,) = client.search_runs([client.get_experiment_by_name("factloop-smoke").experiment_id], "tags.step = 'ablate'")
children = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
print(json.dumps([parent.info.status, parent.data.metrics, sorted(f.path for f in client.list_artifacts(parent.info.run_id, "ablation")),
                  {r.data.tags["step"]: [r.data.params, r.data.metrics] for r in children}]))""")
    assert isinstance(found, list)
    status, metrics, files, children = found
    assert status == "FINISHED" and files == ["ablation/ablation.json", "ablation/ablation.png"] and set(children) == ran
    measured = [children[f"evaluate-contrastive-seed-{seed}"] for seed in (4, 5)]
    assert metrics["contrastive/rougeL"] == pytest.approx(np.mean([own["rougeL"] for _, own in measured]))
    assert metrics["contrastive/rougeL.low"] <= metrics["contrastive/rougeL"] <= metrics["contrastive/rougeL.high"]
    difference = metrics["contrastive/rougeL"] - metrics["mle/rougeL"]
    assert metrics["contrastive/rougeL/difference"] == pytest.approx(difference) and 0 < metrics["contrastive/rougeL/p"] <= 1
    assert [p["arm"] for p, _ in measured] == ["contrastive"] * 2 and [p["seed"] for p, _ in measured] == ["4", "5"]
    assert measured[0][0]["contrast.negative_weight"] == "0.1" and measured[0][0]["contrast.training.steps"] == "3"

    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID | {"arms": {"mle": None, "worst": {"score": "quals_worst"}}}))
    other = clone.run(*line[:-2], "4", "--metrics", "rougeL", "hallucination_rate")
    assert other.returncode == 0, other.stdout[-2000:] + other.stderr[-3000:]
    # Candidates are not scored again for another score of the same judge, and who measures is not asked.
    assert {match[1] for match in re.finditer(r"^(\S+) +\d+ s  \(", other.stdout, re.M)} == {
        "train-worst-seed-4",
        "evaluate-worst-seed-4",
        "evaluate-mle-seed-1",
    }
    rows = clone.ask("""
(run,) = client.search_runs([client.get_experiment_by_name("factloop-smoke").experiment_id], "tags.step = 'evaluate-worst-seed-4'")
print(json.dumps([json.loads(line)["scores"] for line in open(client.download_artifacts(run.info.run_id, "files/examples.jsonl"))]))""")
    assert isinstance(rows, list) and {*rows[0]} == {"rouge1", "rouge2", "rougeL", "hallucination_rate", "fact_recall"}
