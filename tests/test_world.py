"""The world: its oracle and its errors agree, its noise is as declared, and overlap cannot solve it."""

from __future__ import annotations

import hashlib
import json
import random
from itertools import islice

import numpy as np
import pytest

from factloop.metrics.overlap import overlap_features
from factloop.statistics import auc
from factloop.steps.judge import planted
from factloop.world import VERSION
from factloop.world.errors import ERROR_TYPES, OVERLAP_FINDS, plant
from factloop.world.generate import Fact, Noise, documents, passages, tables
from factloop.world.oracle import fact_recall, hallucinates, judge, parse_summary
from factloop.world.relations import RELATIONS
from factloop.world.vocabulary import make_world

pytestmark = pytest.mark.unit
WORLD = make_world(1)
ROWS = list(documents(WORLD, 1, 600, Noise()))


def facts(rows: list[dict[str, object]]) -> list[Fact]:
    return [Fact(**row) for row in rows]  # type: ignore[arg-type]


def test_every_wording_is_read_back_as_the_fact_it_states() -> None:
    for row in ROWS:
        stated = [fact for _, fact in parse_summary(row["summary"])]
        assert stated == facts(row["summary_facts"]), row["summary"]


def test_clean_summaries_are_true_and_complete() -> None:
    for row in ROWS:
        assert not hallucinates(row["summary"], facts(row["facts"]))
        assert fact_recall(row["summary"], facts(row["summary_facts"])) == 1


def test_saying_less_costs_recall_and_saying_nothing_is_no_way_to_win() -> None:
    row = next(row for row in ROWS if any(fact["detail"] for fact in row["summary_facts"]))
    assert fact_recall(row["summary"].split(". ")[0] + ".", facts(row["summary_facts"])) < 1
    assert hallucinates("", facts(row["facts"]))


@pytest.mark.parametrize("kind", ERROR_TYPES)
def test_planted_errors_are_false_and_the_oracle_says_how(kind: str) -> None:
    found = 0
    for row in ROWS:
        wrong = plant(row["summary"], facts(row["summary_facts"]), facts(row["facts"]), kind, WORLD, random.Random(row["id"]))
        if wrong is not None:
            found += 1
            verdicts = {statement.verdict for statement in judge(wrong, facts(row["facts"]))}
            assert verdicts - {"supported"} == {kind if kind == "unsupported detail" else "contradicted"}, (wrong, row)
    assert found >= 40


def test_training_references_err_only_by_typical_details() -> None:
    rows = list(documents(WORLD, 5, 4000, Noise(omission=0.5, fill_in=0.6, typical=0.85)))
    omitted = filled = typical = 0
    for row in rows:
        for clean, (_, noisy) in zip(facts(row["summary_facts"]), parse_summary(row["training_summary"]), strict=True):
            assert noisy is not None
            if clean.detail is None and not clean.denied:
                omitted += 1
                filled += noisy.detail is not None
                typical += noisy.detail == WORLD.typical[clean.subject, RELATIONS[clean.relation].detail]
            else:
                assert noisy == clean
    assert filled / omitted == pytest.approx(0.6, abs=0.03)
    assert typical / filled == pytest.approx(0.85, abs=0.04)  # and 1 in 8 to 50 of the rest by chance


def test_there_is_variety_and_summaries_share_no_wording_with_documents() -> None:
    assert len(RELATIONS) >= 8
    for relation in RELATIONS.values():
        assert len(set(relation.document)) >= 6
        assert not set(relation.summary) & set(relation.document)


def test_word_overlap_does_not_tell_planted_errors_from_clean_summaries() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    rows = [row for row in planted(list(documents(WORLD, 7, 900, Noise())), 1, 150) if row["error"] != OVERLAP_FINDS]
    clean = np.array([row["error"] is None for row in rows])
    features = np.array([list(overlap_features(row["document"], row["summary"]).values()) for row in rows])
    for index in range(features.shape[1]):
        area = auc(features[clean, index], features[~clean, index])
        assert max(area, 1 - area) <= 0.65
    scores = cross_val_predict(LogisticRegression(class_weight="balanced"), features, clean, cv=5, method="decision_function")
    assert auc(scores[clean], scores[~clean]) <= 0.65


def test_a_larger_world_begins_with_the_smaller() -> None:
    assert list(documents(WORLD, 1, 20, Noise())) == ROWS[:20]


def test_the_world_is_what_its_version_says() -> None:
    """If this fails, wordings or draws changed: raise VERSION, since scores no longer compare."""
    rows = [*islice(ROWS, 100), *passages(WORLD, 1, 100, 0.4), *tables(WORLD, 1, 100, 0.4)]
    found = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    assert (VERSION, found) == (1, "68501a5fb2ccf5edac9c63c2a6cb6eb9367577568fbcdcfcc44f1990b796d3f3")
