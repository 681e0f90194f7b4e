"""Table questions written for mined sentences; table question answering trained and evaluated."""

from __future__ import annotations

import re
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from ..corpora.rows import Row, read_rows, write_rows
from ..decoding import beam_search
from ..metrics import bleu, bleu_statistics, meteor, meteor_statistics, rouge
from ..seq2seq import Seq2Seq
from ..settings import TrainingSettings
from ..statistics import interval
from ..tables.answer import answer_questions, asked_without, choose_threshold
from ..tables.linearise import entries
from ..tables.model import Answering, TableQA, train_table_qa
from ..tables.sentences import sentences
from ..tables.truncate import lost_evidence
from ..training import Progress
from ..training.pairs import train_pairs

VALIDATED = 200  # questions that the threshold of answering is chosen on, at most
VALUE = re.compile(r"(?:[A-Z][\w'.-]*|\d[\d,.]*\d|\d)(?: (?:[A-Z][\w'.-]*|\d+))*")


def inverted(passage: str, question: str, answer: str) -> tuple[list[str], list[str]] | None:
    """Reading comprehension turned round: the sentence of the answer and its values in, question out."""
    sentence = next((part for part in sentences(passage) if answer in part), None)
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
    # Rows that share a cell share its words: each value once.
    texts = [entries(row["sentence"], list(dict.fromkeys(cell["value"] for cell in row["cells"]))) for row in mined]
    written: list[Row] = []
    seen = set()
    for row, question in zip(mined, beam_search(model, texts, progress.name), strict=True):
        good = question.count("?") == 1 and question.endswith("?") and len(question.split()) >= 3
        if not config["check"] or (good and (row["table"], question) not in seen):
            seen.add((row["table"], question))
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
    left_out = train_table_qa(model, long[:count] + short[:count], settings, config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"long": count, "short": count, "left_out": left_out}


def fine_tune(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `questions`, `validation`, and either `pretrained` or `base`, to begin from.

    When the model may say that a table holds the answer is measured on `validation` once it is trained.
    """
    if "pretrained" in inputs:
        model = TableQA.load(inputs["pretrained"] / "model", config["device"])
    else:
        model = TableQA.from_base(Seq2Seq.load(inputs["base"], config["device"]))
    questions = list(read_rows(inputs["questions"]))[: config["examples"]]
    left_out = train_table_qa(model, questions, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.answering = Answering(cells_only=tuple(config["short_answers"]) == ("cell",))
    model.answering = choose_threshold(model, list(islice(read_rows(inputs["validation"]), VALIDATED)))
    model.save(out / "model")
    chosen = {"held_threshold": model.answering.threshold, "held_validation": model.answering.examples}
    return {"questions": len(questions), "left_out": left_out} | chosen


def evaluate(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `model` and `questions`: long answers against references; how often it knows whether the table holds the answer."""
    model = TableQA.load(inputs["model"], config["device"])
    questions = list(read_rows(inputs["questions"]))[: config["examples"]]
    lost = sum(bool(lost_evidence(model.fitted(row), row["rows"], row["answer"])) for row in questions)
    if lost:
        print(f"{progress.name}: in {lost} of {len(questions)} questions the window lacks cells that the reference states", flush=True)
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
    judged = asked_without(questions)
    if judged:
        held = [one.held for one in answer_questions(model, [row for row, _ in judged])]
        metrics["held_accuracy"] = asdict(interval([float(said == truth) for said, (_, truth) in zip(held, judged, strict=True)]))
    return metrics | {"examples": len(questions), "evidence_lost": lost}
