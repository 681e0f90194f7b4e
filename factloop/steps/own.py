"""Judge a person's own rows: summaries against their documents, answers against their tables.

Rows are as `corpora.own` reads them. A row that a judge cannot take has a status that says why,
and no score by it; the other rows are judged as ever. One that could not be read says so (`bad`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora.rows import Row, read_rows, write_rows
from ..decoding import beam_search
from ..judges.quals import AGGREGATES
from ..metrics import bleu_statistics, corpus_bleu, corpus_meteor, marked_words, meteor_statistics, overlap_features, rouge
from ..seq2seq import Seq2Seq
from ..statistics import interval
from ..tables.model import TableQA
from ..training import Progress
from .judging import JUDGES, SCORES, doubted, judge_pairs, status

LETTERS = 10_000  # of an output or a reference: ROUGE-L takes time by the product of both
MATCHES = 50_000  # of a word in the output with one in the reference: METEOR takes seconds at this, and then all memory
BASELINES = ("unigrams", "bigrams", "trigrams", "values")


def evaluate_summaries(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `rows`, judges as `judge_pairs` takes them, and `model` where it is to write the summaries.

    What the judges say, word overlap with the document and, for rows with a reference, ROUGE, BLEU and METEOR.
    """
    rows = list(read_rows(inputs["rows"]))
    if "model" in inputs:
        model = Seq2Seq.load(inputs["model"], config["device"])
        readable = [row for row in rows if "bad" not in row]
        for row, text in zip(readable, beam_search(model, [[row["document"]] for row in readable], "summaries"), strict=True):
            row["summary"] = text
    examples = [_example(row, row["document"], row["summary"]) for row in rows]
    totals = _against_references(examples)
    fit = [example for example in examples if _judgeable(example)]
    pairs = [(example["document"], example["output"]) for example in fit]
    judges = [judge for judge, model in JUDGES.items() if model in inputs]
    names = [*AGGREGATES, *_names(examples), *(name for judge in judges for name in SCORES[judge])]
    verdicts = judge_pairs(config, inputs, pairs, checkpoints, progress)
    asked: list[float] = []

    def judged() -> Iterator[Row]:
        """Each example whole: their evidence is never in memory all at once."""
        for example in examples:
            if not _judgeable(example):
                yield example | {"marked": _marked(example)}
                continue
            verdict = next(verdicts)
            example["statuses"] |= verdict["statuses"]
            example["scores"] |= verdict["scores"]
            example["status"] = status(example["statuses"])
            asked.append(float(verdict["statuses"]["quals"] == "no_evidence"))
            yield example | {"evidence": verdict["evidence"], "marked": _marked(example, doubted(verdict))}

    metrics = _finish(out, judged(), names)
    return metrics | totals | ({"no_evidence": asdict(interval(asked))} if asked else {})


def evaluate_answers(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `rows`, and `model` where it is to write the answers.

    Overlap with the table's title, header and cells, the share of the answer's values found there
    among it, and for rows with a reference ROUGE, BLEU and METEOR. Not QUALS: its judge learns to
    ask about sentences, and a table is none.
    """
    rows = list(read_rows(inputs["rows"]))
    if "model" in inputs:
        readable = [row for row in rows if "bad" not in row]
        for row, text in zip(readable, TableQA.load(inputs["model"], config["device"]).answer(readable, "long"), strict=True):
            row["answer"] = text
    texts = [". ".join([row["title"], *(", ".join(line) for line in [row["header"], *row["rows"]])]) for row in rows]
    examples = [_example(row, text, row["answer"]) for row, text in zip(rows, texts, strict=True)]
    totals = _against_references(examples)
    marked = (example | {"marked": _marked(example, source=text)} for example, text in zip(examples, texts, strict=True))
    return totals | _finish(out, marked, _names(examples))


def _marked(example: Row, doubts: Sequence[str] = (), source: str | None = None) -> list[tuple[str, str]]:
    """The output with what is wrong with its words, in `source` or in the document."""
    return marked_words(example["document"] if source is None else source, example["output"], doubts)


def _names(examples: Sequence[Row]) -> list[str]:
    """All scores that any of the examples has, in order."""
    return list(dict.fromkeys(name for example in examples for name in example["scores"]))


def _example(row: Row, source: str, output: str) -> Row:
    """One row of the result, with the baselines that are always there."""
    kept = {name: value for name, value in row.items() if name not in ("summary", "answer", "bad")}
    example = kept | {"output": output, "status": "scored", "statuses": {}, "evidence": {}, "scores": dict.fromkeys(BASELINES)}
    if "bad" in row:
        return example | {"status": f"bad row: {row['bad']}"}
    if not output.strip():
        return example | {"status": "empty: the model wrote nothing"}
    found = overlap_features(source, output)
    example["scores"] = {name: found[name] for name in BASELINES}
    if row["reference"] and (why := _incomparable(output, row["reference"])):
        example["statuses"] = {"reference": why}
        example["status"] = status(example["statuses"])
    return example


def _judgeable(example: Row) -> bool:
    """Whether there is something to judge, though it may not be comparable with its reference."""
    return str(example["status"]) == status(example["statuses"])


def _incomparable(output: str, reference: str) -> str:
    """Why an output and its reference are not compared; empty where they are."""
    for name, text in (("output", output), ("reference", reference)):
        if len(text) > LETTERS:
            return f"too long: {name} of {len(text)} characters, at most {LETTERS} are compared"
    counts = [Counter(text.lower().split()) for text in (output, reference)]
    matches = sum(count * counts[1][word] for word, count in counts[0].items())
    return f"too long: output and reference match in {matches} pairs of words, at most {MATCHES} are compared" if matches > MATCHES else ""


def _against_references(examples: Sequence[Row]) -> dict[str, Any]:
    """ROUGE and METEOR into the examples that have a reference; corpus BLEU and METEOR as metrics."""
    given = [example for example in examples if example["reference"] and example["status"] == "scored"]
    if not given:
        return {}
    references, outputs = [example["reference"] for example in given], [example["output"] for example in given]
    matches = meteor_statistics(references, outputs)
    scores = rouge(references, outputs) | {"meteor": [corpus_meteor(row) for row in matches]}
    for index, example in enumerate(given):
        example["scores"] |= {name: values[index] for name, values in scores.items()}
    statistics: tuple[tuple[str, Any, Callable[..., float]], ...] = (
        ("bleu", bleu_statistics(references, outputs), corpus_bleu),
        ("bleu_lowercase", bleu_statistics(references, outputs, lowercase=True), corpus_bleu),
        ("meteor", matches, corpus_meteor),
    )
    return {name: asdict(interval(table, statistic)) for name, table, statistic in statistics}


def _finish(out: Path, examples: Iterable[Row], names: Sequence[str]) -> dict[str, Any]:
    """Write the examples as they come, each with the same scores in the same order; their means with intervals."""
    found: dict[str, list[float]] = {name: [] for name in names}
    statuses: list[str] = []

    def whole() -> Iterator[Row]:
        for example in examples:
            scores = {name: example["scores"].get(name) for name in found}
            for name, score in scores.items():
                found[name].append(np.nan if score is None else score)
            statuses.append(example["status"])
            yield example | {"scores": scores}

    write_rows(out / "examples.jsonl", whole())
    metrics: dict[str, Any] = {"examples": len(statuses), "scored": statuses.count("scored")}
    metrics["bad_rows"] = sum(status.startswith("bad row: ") for status in statuses)
    for name, values in found.items():
        if name != "meteor" and not np.isnan(values).all():  # METEOR is of the whole, not a mean
            metrics[name] = asdict(interval(values))
    return metrics
