"""Cards: each score on the examples that its judge took, what cannot be said, kinds of error, shares of statuses; the overlap beside them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factloop.corpora.formats import FORMATS
from factloop.corpora.readers import read
from factloop.corpora.rows import read_rows, write_rows
from factloop.judges.answers import normalise, token_f1
from factloop.judges.factcc import FactCC, _examples, new_factcc
from factloop.metrics import overlap_features
from factloop.statistics import pearson
from factloop.steps import judge, summaries
from factloop.steps.judging import status_shares
from factloop.world.errors import ERROR_TYPES
from tasks.calibrate import PLANTED, against_baseline, gist, rows_of, status_table
from tasks.predict import Generator
from tasks.record import flat_metrics
from tests.test_training import Quiet, tiny

MIRROR = os.environ.get("DATA_MIRROR")


def calibrated(
    rows: list[dict[str, Any]], verdicts: list[dict[str, tuple[str, float | None]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, float]:
    """The metrics of a card where the judges say so: by example and judge the status and the score."""
    given = [
        {
            "scores": {name: score for name, (_, score) in found.items()},
            "statuses": {name: status for name, (status, _) in found.items()},
            "evidence": {},
        }
        for found in verdicts
    ]
    monkeypatch.setattr(judge, "judge_pairs", lambda *_: iter(given))
    text = {"document": "Mara Velling wrote Emma in 1984.", "summary": "Mara Velling wrote Emma."}
    write_rows(tmp_path / "labelled.jsonl", (text | {"source": "mine"} | row for row in rows))
    metrics = flat_metrics(judge.agree({}, {"labelled": tmp_path / "labelled.jsonl"}, tmp_path, tmp_path, Quiet()))
    assert not any(map(math.isnan, metrics.values()))
    return metrics


@pytest.mark.unit
def test_an_example_that_one_judge_refuses_counts_for_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"label": float(n % 2), "errors": [] if n % 2 else ["entity-swap"]} for n in range(8)]
    verdicts: list[dict[str, tuple[str, float | None]]] = [
        {"quals": ("scored", -1.0 + n % 2), "factcc": ("scored", float(n % 2)) if n > 1 else ("too long: 9 tokens", None)} for n in range(8)
    ]
    verdicts[7]["quals"] = ("no_evidence", None)
    metrics = calibrated(rows, verdicts, tmp_path, monkeypatch)
    table = rows_of(metrics)["mine"]
    assert table["quals"]["scored"] == "7" and table["factcc"]["scored"] == "6"
    assert {name: found["n"] for name, found in table.items()} == {
        "quals": "8", "factcc": "6", **dict.fromkeys(("unigrams", "bigrams", "trigrams", "worst_sentence", "values"), "8"),
    }  # fmt: skip
    assert metrics["judge/factcc/mine/auc"] == 1.0
    assert metrics["judge/quals/mine/auc"] == pytest.approx((3 + 0.5) / 4)  # without evidence as low as the lowest
    assert status_table(metrics) == {
        "quals": {"scored": 7 / 8, "no evidence": 1 / 8},
        "factcc": {"scored": 6 / 8, "no evidence": 0.0, "too long": 2 / 8},
    }
    assert metrics["factcc_no_evidence"] == 0.0
    errors = rows_of(metrics, by_error=True)["mine"]["factcc"]
    assert list(errors) == ["entity-swap"] and errors["entity-swap"].startswith("1.000")


@pytest.mark.unit
@pytest.mark.parametrize("labels", [[1.0] * 4, [0.5] * 4, [1.0]])
def test_of_equal_labels_nothing_is_said_and_how_many_there_are(
    labels: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts: list[dict[str, tuple[str, float | None]]] = [{"quals": ("scored", -float(n))} for n in range(len(labels))]
    metrics = calibrated([{"label": label} for label in labels], verdicts, tmp_path, monkeypatch)
    told = f"nothing can be said: one and the same label on, or score of, all {len(labels)} examples that it judged"
    assert against_baseline(metrics, "quals", "mine") == told and gist(metrics, "quals") == f"mine: {told}"
    assert rows_of(metrics)["mine"]["quals"] == {"n": str(len(labels)), "scored": str(len(labels))}


@pytest.mark.unit
def test_a_judge_that_takes_no_example_costs_only_its_own_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts: list[dict[str, tuple[str, float | None]]] = [{"quals": ("too long: x", None)} for _ in range(6)]
    rows = [{"label": n / 5, "summary": "Mara Velling wrote Emma" + " again" * n} for n in range(6)]
    metrics = calibrated(rows, verdicts, tmp_path, monkeypatch)
    assert gist(metrics, "quals") == "mine: nothing can be said: it judged none of the examples"
    assert set(rows_of(metrics)["mine"]["trigrams"]) == {"n", "scored", "pearson", "spearman", "over_trigrams"}


@pytest.mark.unit
def test_of_a_judge_that_finds_nothing_to_ask_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts: list[dict[str, tuple[str, float | None]]] = [{"qags": ("no_evidence", None)} for _ in range(6)]
    metrics = calibrated([{"label": n % 2} for n in range(6)], verdicts, tmp_path, monkeypatch)
    assert gist(metrics, "qags") == "mine: nothing can be said: it found nothing to ask in all 6 examples that it judged"
    assert rows_of(metrics)["mine"]["qags"] == {"n": "6", "scored": "0"}
    same: list[dict[str, tuple[str, float | None]]] = [{"qags": ("scored", 0.0) if n else ("no_evidence", None)} for n in range(6)]
    alike = calibrated([{"label": n % 2} for n in range(6)], same, tmp_path, monkeypatch)
    assert gist(alike, "qags") == "mine: nothing can be said: one and the same label on, or score of, all 6 examples that it judged"
    metrics = calibrated([{"label": n % 2} for n in range(6)], verdicts, tmp_path, monkeypatch)
    planted = [row | {"error": None if row["label"] else ERROR_TYPES[0]} for row in read_rows(tmp_path / "examples.jsonl")]
    assert gist(flat_metrics(judge.aucs(planted)), "qags") == gist(metrics, "qags").replace("mine", PLANTED)


@pytest.mark.unit
def test_each_source_is_measured_by_itself_but_for_the_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two labels or graded, alone or beside others; nothing to ask counts as the lowest score of its source."""
    kinds = {"two": [0.0, 1.0] * 4, "other": [1.0, 1.0, 0.0, 0.0], "graded": [0.0, 0.25, 0.5, 1.0, 0.75, 0.0]}
    given = {
        "two": [-3.0, -1.0, -2.0, -1.5, -2.5, None, -2.2, -0.5],
        "other": [-1.2, -1.3, -1.45, -1.4],
        "graded": [-3.0, None, -2.0, 0.0, -1.0, -4.0],
    }

    def told(*sources: str) -> dict[str, float]:
        rows = [
            {"source": source, "label": label, "system": f"s{n % 2 if source == 'graded' else 0}"}
            for source in sources
            for n, label in enumerate(kinds[source])
        ]
        verdicts: list[dict[str, tuple[str, float | None]]] = [
            {"quals": ("no_evidence" if score is None else "scored", score)} for source in sources for score in given[source]
        ]
        metrics = calibrated(rows, verdicts, tmp_path, monkeypatch)
        return {name: value for name, value in metrics.items() if name.startswith("judge/")}

    alone, together = [told(source) for source in kinds], told(*kinds)
    apart = {name: value for metrics in alone for name, value in metrics.items()}
    assert {name for name in together if name not in apart and "balanced_accuracy" not in name} == set()
    assert apart == {name: value for name, value in together.items() if name in apart}
    # The best threshold of `two` is -1.75 and of `other` -1.35, where they would have 0.875 and 1: each has that of the other.
    assert (together["judge/quals/two/balanced_accuracy"], together["judge/quals/other/balanced_accuracy"]) == (0.75, 0.5)
    filled = [-4.0 if score is None else score for score in given["graded"]]
    assert together["judge/quals/graded/pearson"] == pytest.approx(np.corrcoef(filled, kinds["graded"])[0, 1])
    assert "judge/quals/graded/pearson_partial" in together and "judge/quals/two/pearson_partial" not in together
    assert {"judge/quals/two/pearson", "judge/quals/two/auc"} <= together.keys() and "judge/quals/graded/auc" not in together


@pytest.mark.unit
def test_overlap_is_clipped_and_nothing_where_there_is_nothing_to_share() -> None:
    found = overlap_features("The cat sat.", "the the the cat")
    assert found["unigrams"] == 2 / 4 and found["bigrams"] == 1 / 3
    assert overlap_features("The cat sat.", "?!") == dict.fromkeys(("unigrams", "bigrams", "trigrams", "worst_sentence", "values"))
    short = overlap_features("The cat sat.", "the cat")
    assert (short["bigrams"], short["trigrams"], short["values"]) == (1.0, None, None)


@pytest.mark.real
@pytest.mark.skipif(not MIRROR, reason="DATA_MIRROR is not set: no real data to read")
def test_overlap_agrees_with_people_as_far_as_is_known() -> None:
    rows = list(read(Path(str(MIRROR)) / "human_judgements" / "qags_cnndm.jsonl", FORMATS["qags"]))
    labels = np.array([row["label"] for row in rows])
    features = [overlap_features(row["document"], row["summary"]) for row in rows]
    assert len(rows) == 235
    for name, known in (("unigrams", 0.447), ("bigrams", 0.668), ("trigrams", 0.696)):
        assert pearson(np.array([found[name] for found in features], dtype=float), labels) == pytest.approx(known, abs=0.0005), name


@pytest.mark.unit
def test_an_answer_of_articles_alone_is_not_nothing() -> None:
    assert normalise("The Hawks") == "hawks" and normalise(" The ") == "the" and normalise("?") == "?"
    assert token_f1("the", "a") == 0.0 and token_f1("The", "the") == 1.0 and token_f1("the", "the Hawks") == 0.0


@pytest.mark.unit
def test_statuses_are_counted_without_their_numbers() -> None:
    found = status_shares([{"quals": "too long: 7 tokens"}, {"quals": "too long: 9 tokens"}, {"quals": "no_evidence"}, {"quals": "scored"}])
    assert found == {"status/quals/scored": 0.25, "status/quals/no_evidence": 0.25, "status/quals/too_long": 0.5, "no_evidence": 0.25}


@pytest.mark.unit
def test_of_references_without_a_score_there_is_no_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = {"scores": {"quals": None}, "statuses": {"quals": "no_evidence"}, "evidence": {"quals": []}}
    monkeypatch.setattr(summaries, "judge_pairs", lambda config, inputs, pairs, *_: iter([verdict] * len(pairs)))
    write_rows(tmp_path / "candidates.jsonl", [{"id": "a", "document": "d", "summary": "s", "candidates": ["s", "t"]}])
    metrics = summaries.score_candidates({}, {"candidates": tmp_path}, tmp_path, tmp_path, Quiet())
    assert metrics["no_evidence"] == 1.0 and metrics["scored"] == 2 and not any("quals" in name for name in metrics if "status" not in name)


@pytest.mark.unit
def test_a_claim_whose_source_is_unknown_teaches_no_span() -> None:
    document = "Mara Velling wrote it in 1984. " * 4
    claims = [{"claim": "Mara wrote.", "label": "CORRECT", "source": source, "error": None} for source in ([0, 12], None, [900, 901])]
    found = list(_examples(tiny(), {"document": document, "claims": claims}))
    assert [target[:2] == [-100, -100] for _, _, target in found] == [False, True, True]


@pytest.mark.unit
def test_factcc_as_it_is_served_says_why_there_is_no_score() -> None:
    served = Generator()
    served.kind, served.model = "factcc", new_factcc(tiny(), 0)
    out = served.predict(None, pd.DataFrame({"document": ["Mara won.", "Mara won."], "summary": ["Mara won.", "?!"]}))
    assert out["status"].tolist() == ["scored", "empty: the summary has no letter or digit"]
    assert 0 < float(out["correct"][0]) < 1 and out["correct"][1] == "" and json.loads(out["sentences"][1]) == []
    assert FactCC([], "empty").mean is None
