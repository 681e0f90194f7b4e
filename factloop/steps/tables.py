"""Table questions written for mined sentences; table question answering trained and evaluated."""

from __future__ import annotations

import re
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from ..corpora.rows import read_rows, write_rows
from ..decoding import beam_search
from ..judges.qagen import answer_chances
from ..metrics import bleu_statistics, corpus_bleu, corpus_meteor, meteor_statistics, repeats, rouge
from ..seq2seq import Seq2Seq
from ..settings import TrainingSettings
from ..statistics import interval
from ..tables.answer import answered, asked_without, choose_threshold
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
    """Inputs `generator`, `mined` and `qagen`: a question for each mined sentence, which is its answer.

    Dropped, with their numbers: what is not one question, what repeats a question of the same table, and what the
    judge `qagen` does not answer from the sentence: with probability `answered`, by a cell that the question does not
    name. With `check` false all is kept: for tests whose models cannot write yet.
    """
    model = Seq2Seq.load(inputs["generator"], config["device"])
    mined = list(read_rows(inputs["mined"]))
    # Rows that share a cell share its words: each value once.
    values = [list(dict.fromkeys(cell["value"] for cell in row["cells"])) for row in mined]
    questions = beam_search(model, [entries(row["sentence"], found) for row, found in zip(mined, values, strict=True)], progress.name)
    kept = list(range(len(mined)))
    dropped = dict.fromkeys(("malformed", "repeated", "unanswered"), 0)
    if config["check"]:
        formed = [index for index in kept if is_question(questions[index])]
        first = {(mined[index]["table"], questions[index]): index for index in reversed(formed)}
        kept = sorted(first.values())
        dropped |= {"malformed": len(mined) - len(formed), "repeated": len(formed) - len(kept)}
        if config["answered"]:
            unnamed = [[value for value in values[index] if value.lower() not in questions[index].lower()] for index in kept]
            judge = Seq2Seq.load(inputs["qagen"], config["device"])
            chances = answer_chances(judge, [mined[index]["sentence"] for index in kept], [questions[index] for index in kept], unnamed)
            kept = [index for index, chance in zip(kept, chances, strict=True) if max(chance, default=0.0) >= config["answered"]]
            dropped["unanswered"] = len(first) - len(kept)
    shown = ("id", "title", "header", "rows")
    written = [
        {name: mined[index][name] for name in shown} | {"question": questions[index], "answer": mined[index]["sentence"]} for index in kept
    ]
    write_rows(out / "questions.jsonl", written)
    return {"mined": len(mined), "written": len(written)} | {f"dropped.{reason}": count for reason, count in dropped.items()}


def is_question(text: str) -> bool:
    """One question, and no text that goes round in circles until it ends in one."""
    return not repeats(text) and text.count("?") == 1 and text.endswith("?") and len(text.split()) >= 3


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
    """Inputs `model` and `questions`: long answers against references, short ones where there are any, and how often it knows
    whether the table holds the answer."""
    model = TableQA.load(inputs["model"], config["device"])
    questions = list(read_rows(inputs["questions"]))[: config["examples"]]
    lost = sum(bool(lost_evidence(model.fitted(row), row["rows"], row["answer"])) for row in questions)
    if lost:
        print(f"{progress.name}: in {lost} of {len(questions)} questions the window lacks cells that the reference states", flush=True)
    outputs = model.answer(questions, "long")
    references = [row["answer"] for row in questions]
    scores: dict[str, Any] = rouge(references, outputs)
    counts, matches = bleu_statistics(references, outputs), meteor_statistics(references, outputs) if config["meteor"] else None
    write_rows(
        out / "examples.jsonl",
        (
            {"id": row["id"], "question": row["question"], "table": {name: row[name] for name in ("title", "header", "rows")}}
            | {"reference": row["answer"], "output": output, "scores": {name: values[i] for name, values in scores.items()}}
            | {"bleu_statistics": counts[i].tolist()}
            | ({} if matches is None else {"meteor_statistics": matches[i].tolist()})
            | ({"source": row["source"]} if "source" in row else {})
            for i, (row, output) in enumerate(zip(questions, outputs, strict=True))
        ),
    )
    metrics = {name: asdict(interval(values)) for name, values in scores.items()}
    metrics["bleu_lowercase"] = asdict(interval(bleu_statistics(references, outputs, lowercase=True), corpus_bleu))
    metrics["bleu"] = asdict(interval(counts, corpus_bleu))
    metrics |= {} if matches is None else {"meteor": asdict(interval(matches, corpus_meteor))}
    judged = asked_without(questions)
    if judged:
        _, confidences = answered(model, [row for row, _ in judged])
        held = [float((one >= model.answering.threshold) == truth) for one, (_, truth) in zip(confidences, judged, strict=True)]
        metrics["held_accuracy"] = asdict(interval(held))
    exact = [row for row in questions if row.get("short_answer")]
    if exact:
        shorts, _ = answered(model, exact)
        metrics["short_exact"] = asdict(interval([float(one == row["short_answer"]) for one, row in zip(shorts, exact, strict=True)]))
    return metrics | {"examples": len(questions), "evidence_lost": lost}
