"""Short-form questions from a grammar, each answered by one cell of the table.

The expressions are those of TAPAS's intermediate pretraining whose result is a cell: a column
selected where another has a value, the first or last row, the lowest or highest number.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

PHRASES = {
    "where": ("what is the {select} when the {column} is {value}?", "the {select} where {column} is {value}?"),
    "both": ("what is the {select} when the {column} is {value} and the {other} is {second}?",),
    "first": ("what is the first {select}?",),
    "last": ("what is the last {select}?",),
    "highest": ("what is the {select} with the highest {column}?",),
    "lowest": ("what is the {select} with the lowest {column}?",),
}

LOOKUP = 0.5  # chance of a plain lookup: what people ask of a table most


def number(cell: str) -> float | None:
    """The number that a cell consists of, thousands separators allowed; None if it is none."""
    text = cell.strip().replace(",", "")
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None


def _unique(rows: Sequence[Sequence[str]], wanted: dict[int, str]) -> int | None:
    """The one row whose columns have the wanted values; None if there is not exactly one."""
    found = [i for i, row in enumerate(rows) if all(row[column] == value for column, value in wanted.items())]
    return found[0] if len(found) == 1 else None


def _extreme(rows: Sequence[Sequence[str]], column: int, highest: bool) -> int | None:
    """The row with the strictly highest or lowest number in a column of numbers only."""
    values = [number(row[column]) for row in rows]
    numbers = [value for value in values if value is not None]
    if len(numbers) < 2 or len(numbers) != len(values):
        return None
    best = max(numbers) if highest else min(numbers)
    return numbers.index(best) if numbers.count(best) == 1 else None


def draw_question(table: dict[str, Any], rng: random.Random, tries: int = 20) -> dict[str, Any] | None:
    """One question with its cell as `short_answer` (never empty); None if no try succeeds."""
    header, rows = table["header"], table["rows"]
    if len(header) < 2 or not rows:
        return None
    for _ in range(tries):
        shape = "where" if rng.random() < LOOKUP else rng.choice(list(PHRASES))
        select, *conditions = rng.sample(range(len(header)), min(3, len(header)))
        if len(conditions) < 2 and shape == "both":
            continue
        row: int | None = rng.randrange(len(rows))
        slots = {"select": header[select], "column": header[conditions[0]]}
        if shape in ("where", "both"):
            used = conditions[: 1 if shape == "where" else 2]
            wanted = {column: rows[row][column] for column in used}
            slots["value"] = wanted[used[0]]
            slots |= {"other": header[used[-1]], "second": wanted[used[-1]]}
            row = _unique(rows, wanted) if all(wanted.values()) else None
        elif shape in ("highest", "lowest"):
            row = _extreme(rows, conditions[0], shape == "highest")
        else:
            row = 0 if shape == "first" else len(rows) - 1
        if row is None or not rows[row][select].strip() or not header[select].strip():
            continue
        return {"question": rng.choice(PHRASES[shape]).format(**slots), "short_answer": rows[row][select], "shape": shape}
    return None
