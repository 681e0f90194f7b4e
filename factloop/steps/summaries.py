"""Summaries judged: the candidates that contrast chooses from, and what a model writes of test documents."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora.rows import read_rows, write_rows
from ..decoding import beam_search
from ..metrics import bleu, bleu_statistics, marked_words, meteor, meteor_statistics, rouge
from ..seq2seq import Seq2Seq
from ..settings import BeamSettings
from ..statistics import interval
from ..training import Progress
from ..world.generate import Fact
from ..world.oracle import fact_recall, hallucinates, judge
from .judging import doubted, judge_pairs, status_shares


def score_candidates(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `qagen` and `candidates`: QUALS of each reference and each distinct candidate.

    With the score `rouge` S+ and S- are chosen by ROUGE-L instead, as in the published variant.
    """
    rows = list(read_rows(inputs["candidates"] / "candidates.jsonl"))
    texts = [list(dict.fromkeys([row["summary"], *row["candidates"]])) for row in rows]
    pairs = [(row["document"], text) for row, group in zip(rows, texts, strict=True) for text in group]
    verdicts = judge_pairs(config, inputs, pairs, checkpoints, progress)
    scored = []
    statuses: list[dict[str, str]] = []
    for row, group in zip(rows, texts, strict=True):
        judged = {text: next(verdicts) for text in group}
        by_text = {text: verdict["scores"] for text, verdict in judged.items()}
        statuses += [verdict["statuses"] for verdict in judged.values()]
        scored.append(
            {name: row[name] for name in ("id", "document", "summary", "candidates")}
            | {"summary_score": _score(config["score"], row["summary"], row["summary"], by_text)}
            | {"candidate_scores": [_score(config["score"], text, row["summary"], by_text) for text in row["candidates"]]}
            | {"answers": [answers(config["score"], judged[text]["evidence"]) for text in (row["summary"], *row["candidates"])]}
        )
    write_rows(out / "scores.jsonl", scored)
    given = [row["summary_score"] for row in scored if row["summary_score"] is not None]
    metrics = {"scored": float(len(statuses))} | status_shares(statuses)
    return metrics | ({"reference_quals": float(np.mean(given))} if given else {})


def answers(score: str, evidence: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """By answer that QUALS asked for, how much less the document makes of it than the text does, as `score` counts it.

    None for a score that is no aggregate of QUALS: its units say nothing of answers.
    """
    found: dict[str, float] = {}
    for pair in evidence.get("quals", []) if score.startswith("quals") else []:
        difference = pair["answer_only"] if score.startswith("quals_answer") else pair["document"] - pair["summary"]
        found[pair["answer"]] = min(difference, found.get(pair["answer"], difference))
    return found


def _score(score: str, text: str, reference: str, by_text: dict[str, dict[str, float | None]]) -> float | None:
    return rouge([reference], [text])["rougeL"][0] if score == "rouge" else by_text[text][score]


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
    counts, matches = bleu_statistics(references, outputs), meteor_statistics(references, outputs)
    write_rows(
        out / "examples.jsonl",
        (
            {"id": row["id"], "document": row["document"], "reference": row["summary"], "output": outputs[i]}
            | {"scores": {name: values[i] for name, values in scores.items()}, "bleu_statistics": counts[i].tolist()}
            | {"meteor_statistics": matches[i].tolist()}
            | {"statuses": verdicts[i]["statuses"], "evidence": verdicts[i]["evidence"], "statements": statements[i]}
            | {"marked": marked_words(row["document"], outputs[i], doubted(verdicts[i]))}
            | ({"source": row["source"]} if "source" in row else {})
            for i, row in enumerate(rows)
        ),
    )
    metrics: dict[str, Any] = {"bleu": asdict(interval(counts, bleu)), "meteor": asdict(interval(matches, meteor)), "examples": len(rows)}
    metrics |= status_shares(verdict["statuses"] for verdict in verdicts)
    for name, values in scores.items():
        if any(value is not None for value in values):
            metrics[name] = asdict(interval([np.nan if value is None else value for value in values]))
    if statements[0] is not None:
        said = [item["verdict"] for group in statements for item in group]
        for verdict in ("contradicted", "unsupported detail", "unparsed"):
            metrics[f"statements/{verdict.replace(' ', '_')}"] = said.count(verdict) / max(1, len(said))
    return metrics
