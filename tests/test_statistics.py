"""Intervals, agreement with labels, comparisons and the gate: known answers and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from factloop.statistics import (
    Difference,
    accuracy_interval,
    auc,
    auc_interval,
    balanced_accuracy,
    best_threshold,
    compare_examples,
    correlations,
    decide,
    holm,
    interval,
    most_different,
    of_shares,
    paired_agreement,
    paired_difference,
    pearson,
    shown,
    sign_flip_p,
    slice_differences,
    slices,
)

pytestmark = pytest.mark.unit


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = [(found := interval(rng.normal(1, 2, 80), seed=i)).low <= 1 <= found.high for i in range(200)]
    assert 0.90 <= np.mean(covered) <= 0.985


def test_a_shift_that_pairing_reveals() -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 10, 100)
    found = of_shares(hard + 0.5 + rng.normal(0, 0.5, 100) - hard)
    assert found.low > 0.3 and found.high < 0.7 and found.p < 0.001


def test_p_values_are_those_of_scipy() -> None:
    from scipy.stats import binomtest, permutation_test

    rng = np.random.default_rng(2)
    few, many = rng.normal(0.4, 1, 9), rng.exponential(1, 40) - 0.7
    exact = permutation_test((few, np.zeros(9)), lambda x, y: x.mean() - y.mean(), permutation_type="samples", vectorized=False)
    assert sign_flip_p(few) == pytest.approx(exact.pvalue)
    drawn = permutation_test(
        (many, np.zeros(40)), lambda x, y, axis: x.mean(axis) - y.mean(axis), permutation_type="samples", n_resamples=20_000, rng=3
    )
    assert sign_flip_p(many) == pytest.approx(drawn.pvalue, abs=0.02)
    wins, losses = np.ones(16), -np.ones(6)  # of a metric of 0 and 1 it is McNemar's test
    assert sign_flip_p(np.concatenate([wins, losses])) == pytest.approx(binomtest(16, 22).pvalue, abs=0.02)
    assert sign_flip_p(np.array([])) == 1.0 and sign_flip_p(np.ones(5)) == 2 / 32


def test_a_score_of_the_whole_is_compared_by_swapping_examples() -> None:
    rng = np.random.default_rng(8)
    rows = [np.column_stack([rng.integers(0, 5, 20), np.full(20, 5)]) for _ in range(2)]
    share = paired_difference(*rows, lambda sums: sums[0] / sums[1])
    mean = paired_difference(rows[0][:, 0] / 5, rows[1][:, 0] / 5)
    assert share.value == pytest.approx(mean.value) and share.p == pytest.approx(mean.p, abs=0.04)
    assert (share.low, share.high) == pytest.approx((mean.low, mean.high)) and share.variance == pytest.approx(mean.variance)
    assert paired_difference(rows[0], rows[0], lambda sums: sums[0]).p == 1.0


def test_intervals_are_those_of_scipy() -> None:
    from scipy.stats import bootstrap

    skewed = np.random.default_rng(4).exponential(1, 60) ** 2
    found, expected = of_shares(skewed), bootstrap((skewed,), np.mean, n_resamples=4000, rng=5).confidence_interval  # BCa
    assert (found.low, found.high) == pytest.approx(expected, rel=0.06)
    plain = bootstrap((skewed,), np.mean, n_resamples=4000, method="percentile", rng=5).confidence_interval
    assert found.high > plain[1] + 0.05  # what the correction is for


def test_holm_by_hand() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}) and list(found) == ["a", "b", "c", "d"]
    assert holm({"a": 0.7, "b": 0.6}) == {"a": 1.0, "b": 1.0} and holm({}) == {}


def test_a_difference_is_shown_by_p_and_interval_together() -> None:
    assert shown("rougeL", difference(1, 0.2, 2), 0.01) == "better" and shown("hallucination_rate", difference(1, 0.2, 2), 0.01) == "worse"
    assert shown("rougeL", difference(1, 0.2, 2), 0.06) == "not shown" and shown("rougeL", difference(1, -0.2, 2), 0.01) == "not shown"


def test_what_the_examples_can_show_is_what_they_show_in_four_of_five_tries() -> None:
    rng = np.random.default_rng(6)
    once = of_shares(rng.normal(0, 1, 60))
    usual = 2.8 * np.sqrt(once.variance / 60)
    assert usual < once.detectable() < 1.35 * usual and once.variance < once.most < 1.3 * once.variance
    assert once.needed(once.detectable()) == pytest.approx(60, abs=1) and once.needed(0.0) == np.inf
    tries = [of_shares(rng.normal(once.detectable(), 1, 60), seed) for seed in range(60)]
    assert 0.7 <= np.mean([shown("rougeL", found, found.p) == "better" for found in tries]) <= 0.99
    assert of_shares(np.zeros(9)).detectable() == np.inf
    seldom = of_shares(np.array([1.0] + [0.0] * 99))
    assert seldom.detectable() > 7.8 / 100  # six changes of one kind are the fewest that show anything


@pytest.mark.parametrize("kind", ["0 or 1", "equal or far apart", "rare"])
def test_a_candidate_that_is_no_better_is_seldom_promoted(kind: str) -> None:
    rng = np.random.default_rng(7)
    draw = {
        "0 or 1": lambda: rng.binomial(1, 0.4, 32) - rng.binomial(1, 0.4, 32),
        "equal or far apart": lambda: np.where(rng.random(32) < 0.6, 0, rng.choice([-1, 1], 32) * rng.lognormal(0, 1, 32)),
        "rare": lambda: rng.binomial(1, 0.05, 32) - rng.binomial(1, 0.05, 32),
    }[kind]
    limits = {"absolute": {}, "not_worse_by": {}, "improve": "rougeL"}
    outcomes = [decide({}, limits, {"rougeL": of_shares(draw().astype(float), seed)}).outcome for seed in range(100)]
    assert outcomes.count("promote") <= 8


def test_kinds_of_examples_and_where_two_systems_differ_most() -> None:
    verdicts = [[], ["unparsed"], ["unparsed", "contradicted"]]
    made = [
        {"id": str(i), "document": "word " * (10 + i // 2), "source": "a" if i < 6 else "b", "output": "x"}
        | {"statements": [{"verdict": verdict} for verdict in verdicts[i % 3]]}
        for i in range(18)
    ]
    found = slices(made)
    assert found["document of 10 to 12 words"] == list(range(6)) and found["source b"] == list(range(6, 18))
    assert found["first wrote contradicted"] == [2, 5, 8, 11, 14, 17] and found["first wrote no error"][0] == 0
    shares = {"rougeL": np.where(np.arange(18) < 6, 2.0, 0.0), "qags": np.array([np.nan] * 17 + [9.0])}
    differences = slice_differences(shares, found["document of 10 to 12 words"])
    assert differences["rougeL"].value == 2.0 and "qags" not in differences
    assert most_different(shares, [("x", "x")] + [("x", "y")] * 17, 3) == [1, 2, 3]
    table = {"header": ["a", "b"], "rows": [["1", "2"]]}
    assert list(slices([{"id": str(i), "table": table | {"title": "Coaches" if i < 5 else str(i)}} for i in range(9)])) == ["table Coaches"]


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


def difference(value: float, low: float, high: float) -> Difference:
    shown = low > 0 or high < 0
    return Difference(
        value,
        low,
        high,
        p=0.01 if shown else 0.5,
        examples=100,
        differing=50,
        variance=(high - low) ** 2 * 6,
        most=(high - low) ** 2 * 7,
        step=0.1,
    )


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
    found = {name: difference(*values) for name, values in differences.items()} if differences else None
    verdict = decide(metrics, LIMITS, found)
    assert verdict.outcome == outcome and says in verdict.reason


def test_an_inconclusive_verdict_says_how_many_examples_would_do() -> None:
    found = {"hallucination_rate": difference(-0.1, -0.3, 0.1), "fact_recall": difference(0.03, -0.04, 0.1)}
    verdict = decide({"rougeL": 50}, LIMITS, found)
    assert verdict.outcome == "inconclusive"
    power = 0.9  # two metrics must be shown at once
    needed = [found["hallucination_rate"].needed(0.1, power), found["fact_recall"].needed(0.05, power)]
    for count in needed:
        assert f"would take about {count:.0f}" in verdict.reason
    assert verdict.asked["fact_recall"] == pytest.approx(found["fact_recall"].detectable(power) - 0.02)
    assert "100 examples show a true gain of" in verdict.reason
    none = decide({"rougeL": 50}, LIMITS, {name: of_shares(np.zeros(32)) for name in found})
    assert none.outcome == "inconclusive" and "none of 32 examples differs" in none.reason


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


@pytest.mark.unit
def test_intervals_of_auc_are_those_of_both_sides_drawn_anew() -> None:
    made = np.random.default_rng(1)
    for high, low in ((made.normal(0.5, 1, 40), made.normal(0, 1, 60)), (made.integers(0, 3, 30), np.array([1.0, -np.inf]))):
        rng = np.random.default_rng(0)
        draws = [auc(high[rng.integers(0, len(high), len(high))], low[rng.integers(0, len(low), len(low))]) for _ in range(1000)]
        found = auc_interval(high, low)
        assert [found.low, found.high] == pytest.approx(list(np.percentile(draws, [2.5, 97.5])), abs=1e-12) and found.value == auc(
            high, low
        )
