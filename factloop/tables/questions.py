"""Short-form questions drawn from the grammar, each with the answer that executing its logical form gives."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .execute import LONGEST, Form, Reading, execute, matching, read_columns
from .grammar import BY_DATE, BY_NUMBER, NUMERIC, ORDINALS, TEMPORAL, Grammar, Rule, load_grammar
from .values import is_missing

TRIES = 20  # forms that are tried for one question
ROWS = 30  # rows that a form is tried around


def _values(kind: str, reading: Reading, index: int, row: int, kept: Sequence[int], rng: random.Random) -> list[str] | None:
    """Values for a condition that holds for `row`: its own cell, or the nearest others as bounds."""
    asked = reading.columns[index]
    if kind in ("equal", "each"):
        others = [other for other in kept if asked.keys[other] != asked.keys[row]]
        if kind == "each" and not others:
            return None
        rows = [row, rng.choice(others)] if kind == "each" else [row]
    else:
        order: Sequence[Any] | None = asked.numbers if kind in NUMERIC else asked.spans
        if order is None:
            return None
        size: Callable[[int], Any] = (lambda at: order[at].value) if kind in NUMERIC else (lambda at: order[at])
        below = max((other for other in kept if size(other) < size(row)), key=size, default=None)
        above = min((other for other in kept if size(other) > size(row)), key=size, default=None)
        wanted = {"greater": [below], "after": [below], "less": [above], "before": [above]}.get(kind, [below, above])
        rows = [other for other in wanted if other is not None]
        if len(rows) < len(wanted):
            return None
    texts = [asked.cells[other] for other in rows]
    return None if any(is_missing(text) or len(text) > LONGEST for text in texts) else texts


def _draw_form(rule: Rule, reading: Reading, rng: random.Random) -> Iterator[Form]:
    """Forms of a rule around rows in random order, over columns drawn at random."""
    ordered = reading.columns
    numbers = [index for index in reading.named if ordered[index].numbers]
    dates = [index for index in reading.named if ordered[index].spans]
    pools: list[Sequence[int]] = [
        numbers if kind in NUMERIC else dates if kind in TEMPORAL else reading.named for kind in rule.where
    ]  # fmt: skip
    if rule.take in BY_NUMBER + BY_DATE:
        pools.append(numbers if rule.take in BY_NUMBER else dates)
    if rule.answer != "count":
        pools.append({"sum": numbers, "difference": numbers, "time": dates}.get(rule.answer, reading.named))
    chosen: list[int] = []
    for pool in pools:
        free = [index for index in pool if index not in chosen]
        if not free:
            return
        chosen.append(rng.choice(free))
    select = chosen.pop() if rule.answer != "count" else None
    by = chosen.pop() if rule.take in BY_NUMBER + BY_DATE else None
    rank = rng.choice(rule.ranks)
    for row in rng.sample(range(reading.height), min(ROWS, reading.height)):
        kept, where = list(range(reading.height)), []
        for kind, index in zip(rule.where, chosen, strict=True):
            values = _values(kind, reading, index, row, kept, rng)
            if values is None:
                break
            where.append({"column": index, "is": kind, "values": values})
            kept = (matching(where[-1], reading, kept) or []) if kind != "each" else kept
        if len(where) == len(rule.where):
            form = {"answer": rule.answer, "take": rule.take, "select": select, "where": where, "by": by, "rank": rank}
            if rule.answer == "time" and select is not None:
                form["unit"] = (ordered[select].spans or ())[row].grain
            yield form
        if not rule.where:
            return


def _phrased(rule: Rule, form: Form, reading: Reading, rng: random.Random) -> str:
    slots = {"ordinal": ORDINALS[form["rank"] - 1], "unit": form.get("unit", "")}
    for name in ("select", "by"):
        slots[name] = reading.columns[form[name]].name if form[name] is not None else ""
    for part, end in zip(form["where"], ("", "2"), strict=False):
        slots |= {f"column{end}": reading.columns[part["column"]].name, f"value{end}": part["values"][0]}
        slots |= {f"to{end}": part["values"][-1], "other": part["values"][-1]}
    return rng.choice(rule.phrases).format_map(slots)


def draw_questions(
    table: dict[str, Any], rng: random.Random, count: int, answers: Sequence[str] = ("cell",), grammar: Grammar | None = None
) -> list[dict[str, Any]]:
    """Up to `count` different questions about a table (header, rows), the same for the same state of `rng`.

    Each has question, short_answer (never empty; for answers of kind "cell" a cell of the table), rule and
    form. `answers` names the kinds that are wanted.
    """
    grammar = grammar or load_grammar()
    if len(table["header"]) < 2 or not table["rows"]:
        return []
    reading, weights = read_columns(table["header"], table["rows"], grammar), grammar.weights(tuple(answers))
    drawn: dict[str, dict[str, Any]] = {}
    for _ in range(count * TRIES if any(weights) else 0):
        rule = rng.choices(grammar.rules, weights)[0]
        for form in _draw_form(rule, reading, rng):
            answer = execute(form, reading)
            if answer is not None:
                question = _phrased(rule, form, reading, rng)
                drawn.setdefault(question, {"question": question, "short_answer": answer, "rule": rule.name, "form": form})
                break
        if len(drawn) == count:
            break
    return list(drawn.values())
