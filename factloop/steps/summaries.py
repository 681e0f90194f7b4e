"""Summaries judged: the candidates that contrast chooses from, and what a model writes of test documents."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora.rows import Row, read_rows, write_rows
from ..decoding import beam_search
from ..judges.mix import Mix, mix_of, mixed
from ..metrics import bleu, bleu_statistics, marked_words, meteor, meteor_statistics, rouge
from ..seq2seq import Seq2Seq
from ..settings import BeamSettings
from ..statistics import interval
from ..training import Progress
from ..world.generate import Fact
from ..world.oracle import fact_recall, hallucinates, judge
from .judging import doubted, judge_pairs, status_shares


def score_candidates(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `candidates`, and judges as `judge_pairs` takes them: the score of each reference and each distinct candidate.

    `score` names a score of a judge, or `rouge` (ROUGE-L against the reference, as in the published variant), or gives the
    weights of several. `mix.json` has the scales by which they were mixed.
    """
    rows = list(read_rows(inputs["candidates"] / "candidates.jsonl"))
    texts = [list(dict.fromkeys([row["summary"], *row["candidates"]])) for row in rows]
    pairs = [(row["document"], text) for row, group in zip(rows, texts, strict=True) for text in group]
    verdicts = judge_pairs(config, inputs, pairs, checkpoints, progress)
    judged = [{text: next(verdicts) for text in group} for group in texts]
    statuses = [verdict["statuses"] for by_text in judged for verdict in by_text.values()]
    for row, by_text in zip(rows, judged, strict=True):
        add_rouge(row["summary"], by_text)
    weights = as_weights(config["score"])
    mix = mix_of(weights, [by_text[text]["scores"] for row, by_text in zip(rows, judged, strict=True) for text in row["candidates"]])
    scored = []
    for row, by_text in zip(rows, judged, strict=True):
        scored.append(
            {name: row[name] for name in ("id", "document", "summary", "candidates")}
            | {"summary_score": mixed(mix, by_text[row["summary"]]["scores"])}
            | {"candidate_scores": [mixed(mix, by_text[text]["scores"]) for text in row["candidates"]]}
            | {"answers": [answers(mix, by_text[text]["evidence"]) for text in (row["summary"], *row["candidates"])]}
        )
    write_rows(out / "scores.jsonl", scored)
    (out / "mix.json").write_text(json.dumps({name: asdict(scale) for name, scale in mix.items()}))
    given = [row["summary_score"] for row in scored if row["summary_score"] is not None]
    metrics = {"scored": float(len(statuses))} | status_shares(statuses)
    return metrics | ({"reference_score": float(np.mean(given))} if given else {})


def add_rouge(reference: str, by_text: dict[str, Row]) -> None:
    """One more score of each text: its ROUGE-L against the reference."""
    found = rouge([reference] * len(by_text), list(by_text))["rougeL"]
    for verdict, value in zip(by_text.values(), found, strict=True):
        verdict["scores"]["rouge"] = value


def as_weights(score: str | dict[str, float]) -> dict[str, float]:
    return {score: 1.0} if isinstance(score, str) else score


def answers(mix: Mix, evidence: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """By answer that QUALS or QAGS asked for, or sentence that FactCC judged, how far the document bears it out, in the units of its
    score in the mix: an edit takes those away that are doubted. None for a score that is of no judge: it says nothing of answers.
    """
    found: dict[str, float] = {}
    for name, scale in mix.items():
        for item in evidence.get(name.partition("_")[0], []):
            if name.startswith("quals"):
                text, value = item["answer"], item["answer_only"] if name.startswith("quals_answer") else item["document"] - item["summary"]
            else:
                text, value = (item["summary"], item["f1"]) if name.startswith("qags") else (item["text"], item["correct"])
            if text:  # the summary may have no answer to QAGS's question
                found[text] = min(scale(value), found.get(text, math.inf))
    return found


def evaluate(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `model`, `qagen` (the gate judge) and `summaries` (test, clean).

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
    metrics: dict[str, Any] = {"bleu": asdict(interval(counts, bleu)), "examples": len(rows)}
    metrics |= {} if matches is None else {"meteor": asdict(interval(matches, meteor))}
    metrics |= status_shares(verdict["statuses"] for verdict in verdicts)
    for name, values in scores.items():
        if any(value is not None for value in values):
            metrics[name] = asdict(interval([np.nan if value is None else value for value in values]))
    if statements[0] is not None:
        said = [item["verdict"] for group in statements for item in group]
        for verdict in ("contradicted", "unsupported detail", "unparsed"):
            metrics[f"statements/{verdict.replace(' ', '_')}"] = said.count(verdict) / max(1, len(said))
    return metrics
