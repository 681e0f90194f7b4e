"""Intervals, agreement with labels, comparisons and the gate: known answers and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from factloop.statistics import (
    Estimate,
    accuracy_interval,
    auc,
    balanced_accuracy,
    best_threshold,
    compare_examples,
    correlations,
    decide,
    interval,
    paired_agreement,
    paired_difference,
    pearson,
)

pytestmark = pytest.mark.unit


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = [(found := interval(rng.normal(1, 2, 80), seed=i)).low <= 1 <= found.high for i in range(200)]
    assert 0.90 <= np.mean(covered) <= 0.985


def test_a_shift_that_pairing_reveals() -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 10, 100)
    found = paired_difference(hard + 0.5 + rng.normal(0, 0.5, 100), hard)
    assert found.low > 0.3 and found.high < 0.7
    with pytest.raises(ValueError, match="3 against 2"):
        paired_difference([1, 2, 3], [1, 2])


def test_examples_without_a_score_count_for_nothing() -> None:
    assert interval([1.0, np.nan, 3.0]).value == 2.0


def test_auc_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    high, low = rng.integers(0, 6, 50), rng.integers(0, 5, 70)
    assert auc(high, low) == pytest.approx(roc_auc_score([1] * 50 + [0] * 70, [*high, *low]))


def rows(values: list[float], name: str = "rougeL") -> list[dict[str, object]]:
    return [{"id": str(i), "scores": {name: value}} for i, value in enumerate(values)]


def test_comparison_of_different_test_sets_is_refused_with_numbers() -> None:
    with pytest.raises(ValueError, match="3 against 2, 1 of them differ"):
        compare_examples(rows([1, 2, 3]), rows([1, 2]))


LIMITS = {"absolute": {"rougeL": {"least": 10}}, "not_worse_by": {"fact_recall": 0.02}, "improve": "hallucination_rate"}


@pytest.mark.parametrize(
    ("metrics", "differences", "outcome", "says"),
    [
        ({"rougeL": 50}, None, "promote", "no champion yet"),
        ({"rougeL": 5}, None, "hold", "rougeL is 5.000, at least 10"),
        ({}, None, "hold", "rougeL was not measured"),
        ({"rougeL": 50}, {"hallucination_rate": (-0.3, -0.4, -0.2), "fact_recall": (0, -0.01, 0.01)}, "promote", "is better"),
        ({"rougeL": 50}, {"hallucination_rate": (0.3, 0.2, 0.4), "fact_recall": (0, -0.01, 0.01)}, "hold", "is worse"),
        ({"rougeL": 50}, {"hallucination_rate": (-0.1, -0.3, 0.1), "fact_recall": (0, -0.01, 0.01)}, "inconclusive", "not surely better"),
        ({"rougeL": 50}, {"hallucination_rate": (-0.3, -0.4, -0.2), "fact_recall": (-0.1, -0.2, -0.05)}, "hold", "fact_recall is worse"),
        ({"rougeL": 50}, {"hallucination_rate": (-0.3, -0.4, -0.2), "fact_recall": (-0.01, -0.03, 0.01)}, "inconclusive", "may be worse"),
        ({"rougeL": 50}, {"fact_recall": (0, -0.01, 0.01)}, "inconclusive", "hallucination_rate cannot be compared"),
    ],
)  # fmt: skip
def test_the_gate(metrics: dict[str, float], differences: dict[str, tuple[float, float, float]] | None, outcome: str, says: str) -> None:
    found = {name: Estimate(*values) for name, values in differences.items()} if differences else None
    verdict = decide(metrics, LIMITS, found)
    assert verdict.outcome == outcome and says in verdict.reason


def test_correlations_agree_with_scipy_and_their_intervals_hold_the_truth() -> None:
    from scipy.stats import pearsonr, spearmanr

    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 200) / 3
    scores = labels + rng.normal(0, 0.5, 200)
    found = correlations(scores, labels)
    assert found["pearson"].value == pytest.approx(pearsonr(scores, labels)[0])
    assert found["spearman"].value == pytest.approx(spearmanr(scores, labels)[0])
    assert all(estimate.low < estimate.value < estimate.high for estimate in found.values())
    assert correlations(np.ones(9), labels[:9])["pearson"].value == 0


def test_a_score_that_only_knows_the_system_has_no_partial_correlation() -> None:
    rng = np.random.default_rng(4)
    systems = ["weak"] * 150 + ["strong"] * 150
    quality = np.array([0.2] * 150 + [0.8] * 150)
    labels, scores = quality + rng.normal(0, 0.1, 300), quality + rng.normal(0, 0.1, 300)
    found = correlations(scores, labels, systems)
    assert found["pearson"].value > 0.8 and abs(found["pearson_partial"].value) < 0.2
    assert found["spearman_partial"].low < 0 < found["spearman_partial"].high


def test_balanced_accuracy_at_the_best_threshold_of_other_data() -> None:
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 300)
    scores = labels + rng.normal(0, 1, 300)
    threshold = best_threshold(scores, labels)
    tried = [balanced_accuracy(scores, labels, cut) for cut in scores]
    assert balanced_accuracy(scores, labels, threshold) == pytest.approx(max(tried))
    assert balanced_accuracy(scores, labels, 0.3) == pytest.approx(balanced_accuracy_score(labels, scores >= 0.3))
    found = accuracy_interval(scores, labels, threshold)
    assert found.low < found.value < found.high and found.high - found.low < 0.15


def test_a_judge_is_better_than_another_only_where_the_examples_say_so() -> None:
    rng = np.random.default_rng(6)
    labels = rng.normal(size=200)
    good, bad = labels + rng.normal(0, 0.5, 200), labels + rng.normal(0, 2, 200)
    assert paired_agreement(pearson, good, bad, labels).low > 0
    same = paired_agreement(pearson, bad, labels + rng.normal(0, 2, 200), labels)
    assert same.low < 0 < same.high
