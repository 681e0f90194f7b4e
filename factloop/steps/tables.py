"""Table questions written for mined sentences; table question answering trained and evaluated."""

from __future__ import annotations

import re
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from ..corpora.rows import Row, read_rows, write_rows
from ..decoding import beam_search
from ..judges.meteor import meteor, meteor_statistics
from ..judges.text import bleu, bleu_statistics, rouge
from ..seq2seq import Seq2Seq
from ..settings import TrainingSettings
from ..statistics import interval
from ..tables.linearise import entries
from ..tables.mining import SENTENCE
from ..tables.model import TableQA, train_table_qa
from ..training import Progress
from ..training.pairs import train_pairs

VALUE = re.compile(r"(?:[A-Z][\w'.-]*|\d[\d,.]*\d|\d)(?: (?:[A-Z][\w'.-]*|\d+))*")


def inverted(passage: str, question: str, answer: str) -> tuple[list[str], list[str]] | None:
    """Reading comprehension turned round: the sentence of the answer and its values in, question out."""
    sentence = next((part for part in SENTENCE.split(passage) if answer in part), None)
    if sentence is None:
        return None
    named = [match.group().rstrip(".,") for match in VALUE.finditer(sentence)]
    values = list(dict.fromkeys([value for value in named if value in question or value in answer] + [answer]))
    return entries(sentence, sorted(values, key=sentence.find)), [question]


def train_question_generator(
    config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress
) -> dict[str, Any]:
    """Inputs `base` and `questions`."""
    model = Seq2Seq.load(inputs["base"], config["device"])
    settings = TrainingSettings(**config["training"])
    found = (
        inverted(row["passage"], item["question"], item["answer"]) for row in read_rows(inputs["questions"]) for item in row["questions"]
    )
    # No more than training sees: turning all of a large set round takes longer than learning from it.
    pairs = list(islice((pair for pair in found if pair), settings.steps * settings.batch_size or None))
    train_pairs(model, pairs, settings, config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"pairs": len(pairs)}


def write_questions(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `generator` and `mined`: a question for each mined sentence, which is its answer.

    Dropped, with their number: what is not one question, and what repeats a question of the
    same table. With `check` false all is kept: for tests whose models cannot write yet.
    """
    model = Seq2Seq.load(inputs["generator"], config["device"])
    mined = list(read_rows(inputs["mined"]))
    texts = [entries(row["sentence"], [cell["value"] for cell in row["cells"]]) for row in mined]
    written: list[Row] = []
    seen = set()
    for row, question in zip(mined, beam_search(model, texts, progress.name), strict=True):
        good = question.count("?") == 1 and question.endswith("?") and len(question.split()) >= 3
        if not config["check"] or (good and (row["page"], question) not in seen):
            seen.add((row["page"], question))
            table = {name: row[name] for name in ("id", "title", "header", "rows")}
            written.append(table | {"question": question, "answer": row["sentence"]})
    write_rows(out / "questions.jsonl", written)
    return {"mined": len(mined), "written": len(written), "dropped": len(mined) - len(written)}


def pretrain(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `base`, `long` and `short`: equal numbers of questions of both forms."""
    model = TableQA.from_base(Seq2Seq.load(inputs["base"], config["device"]))
    long, short = (list(read_rows(inputs[form])) for form in ("long", "short"))
    count = min(len(long), len(short))
    settings = TrainingSettings(**config["training"])
    train_table_qa(model, long[:count] + short[:count], settings, config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"long": count, "short": count}


def fine_tune(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `questions` and either `pretrained` or `base`, to begin from."""
    if "pretrained" in inputs:
        model = TableQA.load(inputs["pretrained"] / "model", config["device"])
    else:
        model = TableQA.from_base(Seq2Seq.load(inputs["base"], config["device"]))
    questions = list(read_rows(inputs["questions"]))[: config["examples"]]
    train_table_qa(model, questions, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"questions": len(questions)}


def evaluate(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `model` and `questions`: long answers against references."""
    model = TableQA.load(inputs["model"], config["device"])
    questions = list(read_rows(inputs["questions"]))[: config["examples"]]
    outputs = model.answer(questions, "long")
    references = [row["answer"] for row in questions]
    scores: dict[str, Any] = rouge(references, outputs)
    counts, matches = bleu_statistics(references, outputs), meteor_statistics(references, outputs)
    write_rows(
        out / "examples.jsonl",
        (
            {"id": row["id"], "question": row["question"], "table": {name: row[name] for name in ("title", "header", "rows")}}
            | {"reference": row["answer"], "output": output, "scores": {name: values[i] for name, values in scores.items()}}
            | {"bleu_statistics": counts[i].tolist(), "meteor_statistics": matches[i].tolist()}
            | ({"source": row["source"]} if "source" in row else {})
            for i, (row, output) in enumerate(zip(questions, outputs, strict=True))
        ),
    )
    lowered = bleu_statistics([text.lower() for text in references], [text.lower() for text in outputs])
    metrics = {name: asdict(interval(values)) for name, values in scores.items()}
    metrics["bleu_lowercase"] = asdict(interval(lowered, bleu))
    metrics |= {"bleu": asdict(interval(counts, bleu)), "meteor": asdict(interval(matches, meteor))}
    return metrics | {"examples": len(questions)}
