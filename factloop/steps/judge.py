"""How far judges can be trusted: on planted errors, on what people said."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..corpora.rows import Row, read_rows, write_rows
from ..metrics import overlap_features
from ..statistics import (
    Estimate,
    accuracy_interval,
    auc,
    auc_interval,
    best_threshold,
    correlations,
    paired_agreement,
    pearson,
)
from ..training import Progress
from ..world.errors import ERROR_TYPES, OVERLAP_FINDS, plant
from ..world.generate import Fact
from ..world.vocabulary import make_world
from .judging import judge_pairs, slug, status_shares

BASELINE = "trigrams"  # what a judge must beat to be worth its time


def planted(documents: list[dict[str, Any]], seed: int, each: int) -> Iterator[dict[str, Any]]:
    """Every clean summary, and up to `each` summaries with an error of each type."""
    world = make_world(seed)
    for row in documents:
        yield {"document": row["document"], "summary": row["summary"], "error": None, "label": 1.0}
    for kind in ERROR_TYPES:
        found = 0
        for row in documents:
            facts = [[Fact(**fact) for fact in row[name]] for name in ("summary_facts", "facts")]
            wrong = plant(row["summary"], facts[0], facts[1], kind, world, random.Random(f"{kind} {row['id']}"))
            if wrong is not None and found < each:
                found += 1
                yield {"document": row["document"], "summary": wrong, "error": kind, "label": 0.0}


def examine(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs: judges as `judge_pairs` takes them, and `summaries` (test documents of the world, clean summaries).

    By judge, aggregate and word overlap the AUC of telling clean summaries from planted errors: of
    each type, and of all types together that overlap cannot find.
    """
    documents = list(read_rows(inputs["summaries"]))[: config["examples"]]
    rows = _judged(list(planted(documents, config["world_seed"], config["errors_each"])), config, inputs, out, checkpoints, progress)
    return status_shares(row["statuses"] for row in rows) | aucs(rows)


def aucs(rows: list[Row]) -> dict[str, Any]:
    """Of each score of planted rows: the AUC of all types that overlap cannot find, beyond that of trigrams, and by type."""
    metrics: dict[str, Any] = {}
    for name in rows[0]["scores"]:
        judged = [row for row in rows if _taken(name, row)]
        metrics |= {f"judge/{name}/{kind}": count for kind, count in _counts(name, judged).items()}
        given = list(zip(_given(name, judged), (row["error"] for row in judged), strict=True))
        scores = {kind: [score for score, error in given if error == kind] for kind in (None, *ERROR_TYPES)}
        if not scores[None] or _alike(score for score, _ in given):
            continue
        hard = [score for kind in ERROR_TYPES if kind != OVERLAP_FINDS for score in scores[kind]]
        if hard:
            metrics[f"judge/{name}/auc"] = asdict(auc_interval(scores[None], hard))
            metrics[f"judge/{name}/over_{BASELINE}"] = asdict(_over(name, [row for row in judged if row["error"] != OVERLAP_FINDS], _auc))
        for kind in ERROR_TYPES:
            if scores[kind]:
                metrics[f"judge/{name}/auc/{slug(kind)}"] = asdict(auc_interval(scores[None], scores[kind]))
    return metrics


def agree(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs: judges as `judge_pairs` takes them, and `labelled`: document, summary, label, source; errors and system if known.

    By score and source: how many examples its judge took (`n`), and of how many it has a score (`scored`: about the others it found nothing
    to ask). Unless all labels or all scores are one and the same: Pearson and Spearman, where the source names more than one system both
    partial to the system, too; and where its labels are 0 or 1 the AUC, the AUC by kind of error, and balanced accuracy at the threshold
    that is best on the other such sources.
    """
    rows = _judged(list(read_rows(inputs["labelled"])), config, inputs, out, checkpoints, progress)
    metrics: dict[str, Any] = {"examples": len(rows)} | status_shares(row["statuses"] for row in rows)
    sources = {source: [row for row in rows if row["source"] == source] for source in dict.fromkeys(row["source"] for row in rows)}
    for name in rows[0]["scores"]:
        taken = {source: [row for row in group if _taken(name, row)] for source, group in sources.items()}
        for source, group in taken.items():
            metrics |= {f"judge/{name}/{slug(source)}/{kind}": count for kind, count in _counts(name, group).items()}
        scores = {source: np.array(_given(name, group)) for source, group in taken.items()}
        labels = {source: np.array([row["label"] for row in group]) for source, group in taken.items()}
        taken = {source: group for source, group in taken.items() if not _alike(scores[source]) and not _alike(labels[source])}
        binary = [source for source in taken if set(labels[source]) == {0.0, 1.0}]
        for source, group in taken.items():
            x, y, at = scores[source], labels[source], f"judge/{name}/{slug(source)}"
            metrics[f"{at}/over_{BASELINE}"] = asdict(_over(name, group, _auc if source in binary else pearson))
            systems = [row.get("system", "") for row in group]
            found = correlations(x, y, systems if len(set(systems)) > 1 else None)
            metrics |= {f"{at}/{kind}": asdict(estimate) for kind, estimate in found.items()}
            if source not in binary:
                continue
            metrics[f"{at}/auc"] = asdict(auc_interval(x[y == 1], x[y == 0]))
            for error in sorted({error for row in group for error in row.get("errors", [])}):
                wrong = np.array([error in row.get("errors", []) and row["label"] == 0 for row in group])
                if wrong.any():
                    metrics[f"{at}/auc/{slug(error)}"] = asdict(auc_interval(x[y == 1], x[wrong]))
            others = [other for other in binary if other != source]
            if others:
                threshold = best_threshold(*(np.concatenate([part[other] for other in others]) for part in (scores, labels)))
                metrics[f"{at}/balanced_accuracy"] = asdict(accuracy_interval(x, y, threshold))
    return metrics


def _judged(
    rows: list[Row], config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress
) -> list[Row]:
    """The rows with their scores, statuses and evidence, and word overlap as one more judge; kept in `examples.jsonl`."""
    verdicts = judge_pairs(config, inputs, [(row["document"], row["summary"]) for row in rows], checkpoints, progress)
    for row, verdict in zip(rows, verdicts, strict=True):
        row |= verdict | {"scores": verdict["scores"] | overlap_features(row["document"], row["summary"])}
    write_rows(out / "examples.jsonl", rows)
    return rows


def _taken(name: str, row: Row) -> bool:
    """Whether the judge of a score took the example, so that its score, or that there was nothing to ask, says something."""
    return row["statuses"].get(name.partition("_")[0], "scored") in ("scored", "no_evidence")


def _counts(name: str, rows: Sequence[Row]) -> dict[str, int]:
    return {"n": len(rows), "scored": sum(row["scores"][name] is not None for row in rows)}


def _alike(values: Iterable[float]) -> bool:
    return len(set(values)) < 2


def _given(name: str, rows: Sequence[Row]) -> list[float]:
    """A score of each row. One without evidence counts as the lowest of these: nothing in it could be asked about."""
    found = [row["scores"][name] for row in rows]
    least = min((score for score in found if score is not None), default=0.0)
    return [least if score is None else score for score in found]


def _auc(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    return auc(scores[labels == 1], scores[labels == 0])


def _over(name: str, rows: Sequence[Row], agreement: Callable[[Any, Any], float]) -> Estimate:
    """How much better a score agrees with the labels than the trigrams that summary and document share."""
    return paired_agreement(agreement, _given(name, rows), _given(BASELINE, rows), [row["label"] for row in rows])
