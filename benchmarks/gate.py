"""How often the gate promotes what is no better, and what is better by what it says it can show.

    python -m benchmarks.gate                # 200 simulated pairs a scenario
    python -m benchmarks.gate --pairs 1000

Each pair of systems is drawn without a true difference and put before the gate (`promoted_no_better`). The gate says
at which true gains it promotes in 80% of tries (`Verdict.asked`); a fresh pair with just these gains is put
before it, too (`promoted_better`). Rows are resampled from evaluations of profile smoke in this clone's store, the two systems
swapped at random on each example, where there are any; and drawn from distributions shaped by hand like those of `world`.
Written to `benchmarks/results/gate.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.run import ROOT, commit_of
from factloop.corpora.rows import read_rows
from factloop.metrics import corpus_bleu
from factloop.statistics import Difference, decide, paired_difference

Sides = tuple[np.ndarray, np.ndarray]
"""Candidate and champion, per example: scores, or the counts that BLEU sums."""
Draw = Callable[[np.random.Generator, int, float], Sides]
"""(generator, examples, true gain of the candidate) -> scores; raises Unreachable where no candidate can be that much better."""


class Unreachable(ValueError):
    """No candidate can be better by so much."""


# Shapes by hand, with the means and spreads that profile world has in `benchmarks/results/world.json`.


def quals(rng: np.random.Generator, count: int, gain: float) -> Sides:
    """Skewed to the left, and alike on the same example."""
    hard = -0.17 * rng.lognormal(0, 0.5, count)
    sides = [hard - 0.04 * rng.lognormal(0, 0.8, count) for _ in range(2)]
    return sides[0] + gain, sides[1]


def quals_hidden_losses(rng: np.random.Generator, count: int, gain: float) -> Sides:
    """Many small gains and a few large losses, which are as much together."""
    hard = -0.17 * rng.lognormal(0, 0.5, count)
    return hard + 0.05 * (1 - rng.exponential(1, count)) + gain, hard


def rouge(rng: np.random.Generator, count: int, gain: float) -> Sides:
    """Equal on 60% of the examples; a gain is made on the others."""
    sides = [100 * rng.beta(2, 1, count) for _ in range(2)]
    same = rng.random(count) < 0.6
    return np.where(same, sides[1], sides[0] + gain / 0.4), sides[1]


def wrong(rate: float) -> Draw:
    """0 or 1 an example, less is better; equal on 70% of the examples."""

    def draw(rng: np.random.Generator, count: int, gain: float) -> Sides:
        if gain > rate:
            raise Unreachable
        sides = [(rng.random(count) < rate).astype(float) for _ in range(2)]
        candidate = np.where(rng.random(count) < 0.7, sides[1], sides[0])
        return candidate * (rng.random(count) >= gain / rate), sides[1]

    return draw


def recall(rng: np.random.Generator, count: int, gain: float) -> Sides:
    """Of three facts an example, 98 in 100 are stated."""
    if gain > 0.02:
        raise Unreachable
    sides = [rng.binomial(3, share, count) / 3 for share in (0.98 + gain, 0.98)]
    return sides[0], sides[1]


def of_rows(pairs: list[tuple[dict[str, Any], dict[str, Any]]], name: str) -> Draw:
    """Real rows of two systems, swapped at random; a gain is added to each score of the candidate."""
    table = np.array([[row["scores"][name] for row in pair] for pair in pairs], dtype=float)

    def draw(rng: np.random.Generator, count: int, gain: float) -> Sides:
        chosen = rng.permuted(table[rng.integers(0, len(table), count)], axis=1)
        return chosen[:, 0] + gain, chosen[:, 1]

    return draw


def bleu_of_rows(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Draw:
    """The same for BLEU: a gain is made by replacing answers of the candidate by their references."""
    table = np.array([[row["bleu_statistics"] for row in pair] for pair in pairs], dtype=float)
    perfect = table[:, 0].copy()
    perfect[:, 8] = perfect[:, 9]
    perfect[:, 4:8] = np.maximum(perfect[:, 9:10] - np.arange(4), 0)
    perfect[:, :4] = perfect[:, 4:8]
    before, best = table.mean(1).sum(0), perfect.sum(0)

    def draw(rng: np.random.Generator, count: int, gain: float) -> Sides:
        if gain > 100 - corpus_bleu(before):
            raise Unreachable
        low, high = 0.0, 1.0
        for _ in range(30):
            share = (low + high) / 2
            low, high = (
                (share, high)
                if corpus_bleu(1000 * ((1 - share) * before + share * best)) < corpus_bleu(1000 * before) + gain
                else (low, share)
            )
        index = rng.integers(0, len(table), count)
        swapped = rng.random(count) < 0.5
        chosen = np.where(swapped[:, None, None], table[index, ::-1], table[index])
        candidate = np.where((rng.random(count) < low)[:, None], perfect[index], chosen[:, 0])
        return candidate, chosen[:, 1]

    return draw


@dataclass(frozen=True)
class Scenario:
    name: str
    examples: int
    improve: str
    metrics: dict[str, Draw]
    margins: dict[str, float]

    @property
    def limits(self) -> dict[str, Any]:
        return {"absolute": {}, "not_worse_by": self.margins, "improve": self.improve}


def by_hand() -> list[Scenario]:
    world: dict[str, Draw] = {"quals": quals, "rougeL": rouge, "fact_recall": recall}
    guards = {"fact_recall": 0.02, "rougeL": 2.0}
    found = []
    for count in (32, 300):
        for name, metrics in (("quals", quals), ("rougeL", rouge), ("hallucination_rate", wrong(0.45))):
            found.append(Scenario(f"{name} alone", count, name, {name: metrics}, {}))
        found.append(Scenario("quals alone, losses hidden among gains", count, "quals", {"quals": quals_hidden_losses}, {}))
    found.append(Scenario("hallucination_rate alone, seldom wrong", 300, "hallucination_rate", {"hallucination_rate": wrong(0.17)}, {}))
    return [*found, Scenario("the gate of world", 300, "quals", world, guards)]


def real() -> list[Scenario]:
    """From the newest evaluations of profile smoke in this clone's store, the default gate; none where there are none."""
    from tasks.environment import prepare

    prepare()  # before MLflow: the stores of this clone
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("factloop-smoke")
    if experiment is None:
        return []

    def rows(step: str) -> list[dict[str, Any]]:
        runs = client.search_runs([experiment.experiment_id], f"tags.step = '{step}' and attributes.status = 'FINISHED'", max_results=1)
        return list(read_rows(Path(client.download_artifacts(runs[0].info.run_id, "files/examples.jsonl")))) if runs else []

    summaries = list(zip(rows("evaluate-summarizer-mle"), rows("evaluate-summarizer-positive-only"), strict=True))
    answers = list(zip(rows("evaluate-table-qa-plain"), rows("evaluate-table-qa"), strict=True))
    judged = [pair for pair in summaries if all(row["scores"]["quals"] is not None for row in pair)]
    found = []
    if judged:
        metrics = {"quals": of_rows(judged, "quals"), "rougeL": of_rows(judged, "rougeL")}
        found.append(Scenario(f"smoke summarizer, {len(judged)} real examples", 32, "quals", metrics, {"rougeL": 2.0}))
    if answers:
        metrics = {"bleu": bleu_of_rows(answers), "rougeL": of_rows(answers, "rougeL")}
        found.append(Scenario(f"smoke table-qa, {len(answers)} real examples", 32, "bleu", metrics, {"rougeL": 2.0}))
    return found


def differences(scenario: Scenario, rng: np.random.Generator, gains: dict[str, float]) -> dict[str, Difference]:
    """Candidate less champion, the candidate truly better by `gains`."""
    drawn = {name: draw(rng, scenario.examples, gains.get(name, 0.0)) for name, draw in scenario.metrics.items()}
    return {
        name: paired_difference(*sides, corpus_bleu if name == "bleu" else None, int(rng.integers(2**31))) for name, sides in drawn.items()
    }


def simulate(scenario: Scenario, pairs: int, seed: int) -> dict[str, Any]:
    """The share of pairs that the gate promotes: of no true difference, and of the gains that it says it shows."""
    rng = np.random.default_rng(seed)
    started = time.process_time()
    no_better, better, asked = [], [], []
    for _ in range(pairs):
        verdict = decide({}, scenario.limits, differences(scenario, rng, {}))
        no_better.append(verdict.outcome == "promote")
        if all(math.isfinite(gain) for gain in verdict.asked.values()):
            try:
                found = differences(scenario, rng, {name: max(0.0, gain) for name, gain in verdict.asked.items()})
            except Unreachable:
                continue
            asked.append(verdict.asked)
            better.append(decide({}, scenario.limits, found).outcome == "promote")
    stated = {name: round(float(np.median([gains[name] for gains in asked])), 4) for name in scenario.metrics} if asked else {}
    return {
        "scenario": scenario.name,
        "examples": scenario.examples,
        "limits": scenario.limits,
        "pairs": pairs,
        "promoted_no_better": round(float(np.mean(no_better)), 4),
        "pairs_better": len(better),
        "promoted_better": round(float(np.mean(better)), 4) if better else None,
        "gains_stated": stated,
        "seconds": round(time.process_time() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="simulated pairs of systems a scenario, with and without a difference")
    options = parser.parse_args()
    commit = commit_of(ROOT)
    found = []
    for seed, scenario in enumerate([*real(), *by_hand()]):
        found.append(simulate(scenario, options.pairs, seed))
        print(json.dumps(found[-1]), flush=True)
        result = {"command": f"python -m benchmarks.gate --pairs {options.pairs}", "commit": commit, "scenarios": found}
        (ROOT / "benchmarks" / "results" / "gate.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
