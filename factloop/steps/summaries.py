"""Summaries judged: the candidates that contrast chooses from, and what a model writes of test documents."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora.rows import Row, read_rows, write_rows
from ..decoding import beam_search
from ..metrics import bleu_statistics, corpus_bleu, corpus_meteor, marked_words, meteor_statistics, rouge
from ..seq2seq import Seq2Seq
from ..settings import BeamSettings
from ..statistics import interval
from ..training import Progress
from ..world.generate import Fact
from ..world.oracle import fact_recall, hallucinates, judge
from .judging import doubted, judge_pairs, status_shares


def score_candidates(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `candidates`, and judges as `judge_pairs` takes them: what each of them says of each reference and each candidate.

    `rouge` is ROUGE-L against the reference, as in the published variant. Which of the scores chooses is not asked here, so that
    one run serves all: see `factloop/contrast/mix.py`.
    """
    rows = list(read_rows(inputs["candidates"] / "candidates.jsonl"))
    texts = [list(dict.fromkeys([row["summary"], *row["candidates"]])) for row in rows]
    pairs = [(row["document"], text) for row, group in zip(rows, texts, strict=True) for text in group]
    verdicts = judge_pairs(config, inputs, pairs, checkpoints, progress)
    scored: list[Row] = []
    statuses: list[dict[str, str]] = []
    for row, group in zip(rows, texts, strict=True):
        by_text = {text: next(verdicts) for text in group}
        add_rouge(row["summary"], by_text)
        statuses += [verdict["statuses"] for verdict in by_text.values()]
        said = [by_text[text] for text in (row["summary"], *row["candidates"])]
        scored.append(
            {name: row[name] for name in ("id", "document", "summary", "candidates")}
            | {"scores": [verdict["scores"] for verdict in said], "answers": [answers(verdict["evidence"]) for verdict in said]}
        )
    write_rows(out / "scores.jsonl", scored)
    metrics: dict[str, Any] = {"scored": float(len(statuses))} | status_shares(statuses)
    for of, which in (("references", slice(1)), ("candidates", slice(1, None))):
        given = [scores for row in scored for scores in row["scores"][which]]
        for name in given[0] if given else ():
            if known := [scores[name] for scores in given if scores[name] is not None]:
                metrics[f"{of}/{name}"] = float(np.mean(known))
    return metrics


def add_rouge(reference: str, by_text: dict[str, Row]) -> None:
    """One more score of each text: its ROUGE-L against the reference."""
    found = rouge([reference] * len(by_text), list(by_text))["rougeL"]
    for verdict, value in zip(by_text.values(), found, strict=True):
        verdict["scores"]["rouge"] = value


def answers(evidence: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """By kind of score each answer that QUALS or QAGS asked for, or sentence that FactCC judged, with how far the document bears it
    out, in the units of the score. What was asked for more than once has the least."""
    found: dict[str, dict[str, float]] = {}
    for source, items in evidence.items():
        for item in items:
            for kind, text, value in _values(source, item):
                if text:  # the summary may have no answer to QAGS's question
                    kinds = found.setdefault(kind, {})
                    kinds[text] = min(value, kinds.get(text, math.inf))
    return found


def _values(judge: str, item: dict[str, Any]) -> list[tuple[str, str, float]]:
    if judge == "quals":
        return [("quals", item["answer"], item["document"] - item["summary"]), ("quals_answer", item["answer"], item["answer_only"])]
    return [(judge, *((item["summary"], item["f1"]) if judge == "qags" else (item["text"], item["correct"])))]


def evaluate(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `model`, `summaries` (test, clean), and the gate judges as `judge_pairs` takes them, or none.

    Where the facts of documents are known, also what the oracle says of each summary.
    """
    model = Seq2Seq.load(inputs["model"], config["device"])
    rows = list(read_rows(inputs["summaries"]))[: config["examples"]]
    documents, references = [row["document"] for row in rows], [row["summary"] for row in rows]
    outputs = beam_search(model, [[text] for text in documents], progress.name, BeamSettings(**config["decoding"]))
    verdicts = list(judge_pairs(config, inputs, list(zip(documents, outputs, strict=True)), checkpoints, progress))
    scores: dict[str, list[Any]] = dict(rouge(references, outputs))
    scores |= {name: [verdict["scores"][name] for verdict in verdicts] for name in verdicts[0]["scores"]}
    statements: list[Any] = [None] * len(rows)
    if "facts" in rows[0]:
        facts = [[Fact(**fact) for fact in row["facts"]] for row in rows]
        wanted = [[Fact(**fact) for fact in row["summary_facts"]] for row in rows]
        scores["hallucination_rate"] = [float(hallucinates(text, known)) for text, known in zip(outputs, facts, strict=True)]
        scores["fact_recall"] = [fact_recall(text, own) for text, own in zip(outputs, wanted, strict=True)]
        statements = [
            [{"sentence": item.sentence, "verdict": item.verdict} for item in judge(text, known)]
            for text, known in zip(outputs, facts, strict=True)
        ]
    counts, matches = bleu_statistics(references, outputs), meteor_statistics(references, outputs) if config["meteor"] else None
    write_rows(
        out / "examples.jsonl",
        (
            {"id": row["id"], "document": row["document"], "reference": row["summary"], "output": outputs[i]}
            | {"scores": {name: values[i] for name, values in scores.items()}, "bleu_statistics": counts[i].tolist()}
            | ({} if matches is None else {"meteor_statistics": matches[i].tolist()})
            | {"statuses": verdicts[i]["statuses"], "evidence": verdicts[i]["evidence"], "statements": statements[i]}
            | {"marked": marked_words(row["document"], outputs[i], doubted(verdicts[i]))}
            | ({"source": row["source"]} if "source" in row else {})
            for i, row in enumerate(rows)
        ),
    )
    metrics: dict[str, Any] = {"bleu": asdict(interval(counts, corpus_bleu)), "examples": len(rows)}
    metrics |= {} if matches is None else {"meteor": asdict(interval(matches, corpus_meteor))}
    metrics |= status_shares(verdict["statuses"] for verdict in verdicts)
    for name, values in scores.items():
        if any(value is not None for value in values):
            metrics[name] = asdict(interval([np.nan if value is None else value for value in values]))
    if statements[0] is not None:
        said = [item["verdict"] for group in statements for item in group]
        for verdict in ("contradicted", "unsupported detail", "unparsed"):
            metrics[f"statements/{verdict.replace(' ', '_')}"] = said.count(verdict) / max(1, len(said))
    return metrics
