"""The limits of `mlflow/gates.yaml`: those that are shipped hold, others are refused with what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.gates import GATED, GateError, check_gates, limits
from tasks.profiles import load_profile, profile_names

pytestmark = pytest.mark.unit
GOOD = "default: {summarizer: {improve: quals, not_worse_by: {rougeL: 2.0}}, table-qa: {improve: bleu}}\n"


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_has_limits_for_what_it_measures(name: str) -> None:
    check_gates(load_profile(name))


def test_a_profile_that_names_one_model_takes_the_rest_from_default(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(GOOD + "smoke: {table-qa: {improve: rougeL, absolute: {bleu_lowercase: {least: 3}}}}\n")
    profile = load_profile("smoke")
    assert limits(profile, "summarizer", path) == {"absolute": {}, "improve": "quals", "not_worse_by": {"rougeL": 2.0}}
    assert limits(profile, "table-qa", path) == {"absolute": {"bleu_lowercase": {"least": 3.0}}, "improve": "rougeL", "not_worse_by": {}}
    assert GATED == ("summarizer", "table-qa")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("not_worse_by", "not_worse"), "default.summarizer.not_worse: Extra inputs are not permitted"),
        (GOOD.replace("rougeL", "rouge-L"), "metric 'rouge-L' is not known; did you mean 'rougeL'?"),
        (GOOD.replace("improve: quals,", ""), "default.summarizer.improve: Field required"),
        (GOOD.replace("2.0", "-2"), "greater than or equal to 0"),
        (GOOD.replace("2.0", "little"), "not_worse_by.rougeL"),
        (GOOD + "smoek: {table-qa: {improve: bleu}}", "profile 'smoek' is not known; did you mean 'smoke'?"),
        (GOOD + "smoke: {table_qa: {improve: bleu}}", "model 'table_qa' is not known; did you mean 'table-qa'?"),
        (GOOD + "smoke: {summarizer: {improve: quals, absolute: {rougeL: {}}}}", "a limit needs `least` or `most`"),
        ("smoke: {table-qa: {improve: bleu}}", "neither smoke nor default has limits for summarizer"),
        ("- a list", "Input should be a valid dictionary"),
        ("a: [", "not YAML"),
    ],
)  # fmt: skip
def test_limits_that_say_nothing_are_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    with pytest.raises(GateError, match=r"gates.yaml") as refused:
        limits(load_profile("smoke"), "summarizer", path)
    assert says in str(refused.value)


def test_a_metric_that_the_profile_does_not_measure_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(GOOD + "news: {summarizer: {improve: hallucination_rate}}")
    with pytest.raises(GateError, match="news, summarizer: metric 'hallucination_rate' is not known"):
        limits(load_profile("news"), "summarizer", path)
    assert limits(load_profile("world"), "summarizer")["improve"] == "quals"


def test_a_profile_without_meteor_cannot_be_gated_by_it(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(GOOD.replace("improve: bleu", "improve: meteor"))
    assert limits(load_profile("fault", ["meteor=true"]), "table-qa", path)["improve"] == "meteor"
    with pytest.raises(GateError, match="'meteor' is not known"):
        limits(load_profile("fault"), "table-qa", path)
