"""A person's question about a table: long and short answer, the cells used, and whether the table holds the answer.

The confidence is the probability that the short decoder gives its answer, end token included, given question
and table; 0 where that answer is no cell of the table and the model learned cells only. A table holds the
answer where the confidence reaches a threshold, chosen on validation questions asked with and without the rows
that answer them. Cells used are found by their text: the short answer's, in the row that shares most with the
question, and what question and long answer name of that row. They are not what the network attended to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..decoding import beam_search, score_targets
from ..statistics.agreement import balanced_accuracy, best_threshold
from .matching import find_cell, lowered
from .model import Answering, TableQA
from .truncate import stated_cells

BATCH = 32
FEWEST = 10  # pairs that a threshold is chosen on


@dataclass(frozen=True)
class Answer:
    long: str
    short: str
    confidence: float
    held: bool
    """Whether the table holds the answer, as far as the model can tell."""
    cells: tuple[tuple[int, int], ...]
    """(row, column) of the cells used, from 0, the header not counted."""


def answer_questions(model: TableQA, questions: Sequence[dict[str, Any]]) -> list[Answer]:
    """Answers to rows with question, title, header and rows."""
    shorts, confidences = answered(model, questions)
    longs = model.answer(questions, "long")
    return [
        Answer(long, short, confidence, confidence >= model.answering.threshold, used_cells(row, short, long))
        for row, long, short, confidence in zip(questions, longs, shorts, confidences, strict=True)
    ]


def answered(model: TableQA, questions: Sequence[dict[str, Any]]) -> tuple[list[str], list[float]]:
    """Short answers, and the confidence in each, to rows with question, title, header and rows."""
    parts = [model.fitted(row).parts for row in questions]
    shorts = beam_search(model.short, parts, "short answers")
    sources = model.short.sources(parts)
    targets = model.short.targets([[text] for text in shorts])
    order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
    confidences = [0.0] * len(sources)
    for begin in range(0, len(order), BATCH):
        part = order[begin : begin + BATCH]
        scored = score_targets(model.short, [sources[index] for index in part], [[targets[index]] for index in part])
        for index, (likelihood,) in zip(part, scored, strict=True):
            is_cell = lowered(shorts[index]) in {lowered(cell.strip()) for row in questions[index]["rows"] for cell in row}
            fits = bool(shorts[index]) and (is_cell or not model.answering.cells_only)
            confidences[index] = math.exp(sum(likelihood.tokens)) if fits else 0.0
    return shorts, confidences


def used_cells(row: dict[str, Any], short: str, long: str) -> tuple[tuple[int, int], ...]:
    """Where the answers are from: one row's cells, or none where no cell is the short answer."""
    asked, said, wanted = lowered(row["question"]), lowered(long), lowered(short.strip())

    def named(line: Sequence[str], text: str) -> list[int]:
        return [index for index, cell in enumerate(line) if len(cell.strip()) > 1 and find_cell(lowered(cell.strip()), text)]

    holding = [
        (len(named(line, asked)), len(named(line, said)), -number, number)
        for number, line in enumerate(row["rows"])
        if wanted and wanted in {lowered(cell.strip()) for cell in line}
    ]
    if not holding:
        return ()
    number = max(holding)[-1]
    line = row["rows"][number]
    answers = [index for index, cell in enumerate(line) if lowered(cell.strip()) == wanted]
    return tuple((number, column) for column in sorted({*answers, *named(line, asked), *named(line, said)}))


def asked_without(questions: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], bool]]:
    """Each question of its table (True) and of the table without the rows that answer it (False).

    These are the rows with the short answer, or with any cell that the long one states where there is no short one.
    Questions whose table has no such row, or no other, are left out.
    """
    pairs: list[tuple[dict[str, Any], bool]] = []
    for row in questions:
        telling = stated_cells(row["rows"], row.get("short_answer") or row["answer"])
        rest = [line for line in row["rows"] if not telling & {cell.strip() for cell in line}]
        if 0 < len(rest) < len(row["rows"]):
            pairs += [(row, True), (row | {"rows": rest}, False)]
    return pairs


def choose_threshold(model: TableQA, questions: Sequence[dict[str, Any]]) -> Answering:
    """The threshold with the best balanced accuracy on `asked_without`; that of the model where there are too few."""
    asked = asked_without(questions)
    if len(asked) < 2 * FEWEST:
        return model.answering
    _, confidences = answered(model, [row for row, _ in asked])
    labels = [float(truth) for _, truth in asked]
    best = best_threshold(confidences, labels)
    if balanced_accuracy(confidences, labels, best) <= 0.5:  # no better than chance
        return model.answering
    return replace(model.answering, threshold=float(best), examples=len(asked) // 2)
