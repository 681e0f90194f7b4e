"""A sheet of mined sentences for two readers, and what their labels say.

The readers get a copy each and fill the column `states_fact`: yes if the sentence states, of itself, what the row
says with these cells (of each row, where there are several), no if not. Neither sees the other's.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factloop.corpora.rows import Row
from factloop.statistics import cohen_kappa, wilson

COLUMNS = ("id", "kind", "page", "title", "passage", "sentence", "cells", "rows", "states_fact")
LABELS = ("yes", "no")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def draw(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Some of the mined sentences, each equally likely, in an order of chance."""
    return random.Random(seed).sample(list(rows), min(count, len(rows)))


def write_sheet(rows: Sequence[Row], path: Path) -> None:
    """One line a sentence, `states_fact` empty; whole or not at all."""
    scratch = path.with_name(path.name + ".unfinished")
    with scratch.open("w", encoding="utf-8", newline="") as stream:
        sheet = csv.writer(stream)
        sheet.writerow(COLUMNS)
        for row in rows:
            stated = sorted({cell["row"] for cell in row["cells"]})
            cells = [f"row {cell['row']}, {row['header'][cell['column']] or 'no name'}: {cell['value']}" for cell in row["cells"]]
            whole = [
                "; ".join(f"{name}: {value}" for name, value in zip(row["header"], row["rows"][number], strict=True)) for number in stated
            ]
            texts = [
                row["id"],
                row["kind"],
                row["page"],
                row["title"],
                row["passage"] or "",
                row["sentence"],
                "\n".join(cells),
                "\n".join(whole),
            ]
            # What a spreadsheet would take for a formula begins with an apostrophe.
            sheet.writerow([*(f"'{text}" if text.startswith(FORMULA) else text for text in texts), ""])
    scratch.replace(path)


def read_labels(path: Path) -> dict[str, str]:
    """The labels of a sheet by id; ValueError names file, line and what is wrong."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        sheet = csv.DictReader(stream)
        if not {"id", "states_fact"} <= set(sheet.fieldnames or ()):
            raise ValueError(f"{path}: its columns are {sheet.fieldnames}; id and states_fact are needed")
        labels: dict[str, str] = {}
        for row in sheet:
            label = (row["states_fact"] or "").strip().lower()
            if label not in LABELS:
                raise ValueError(f"{path}: line {sheet.line_num}: states_fact is {label!r}, neither yes nor no")
            if row["id"] in labels:
                raise ValueError(f"{path}: line {sheet.line_num}: {row['id']!r} is there twice")
            labels[row["id"]] = label
    if not labels:
        raise ValueError(f"{path}: no rows at all")
    return labels


def agree(one: Path, other: Path) -> dict[str, Any]:
    """Of each reader the share of sentences that state the fact with its interval, of both how far they agree."""
    first, second = read_labels(one), read_labels(other)
    if first.keys() != second.keys():
        apart = sorted(first.keys() ^ second.keys())
        raise ValueError(f"{one} and {other} are not of the same sentences: {len(apart)} are in one alone, first {apart[0]!r}")
    ids = list(first)
    labels = [[found[name] for name in ids] for found in (first, second)]
    both = [a == b == "yes" for a, b in zip(*labels, strict=True)]
    shares = {"first": labels[0].count("yes"), "second": labels[1].count("yes"), "both": sum(both)}
    estimates = {name: wilson(count, len(ids)) for name, count in shares.items()}
    return {
        "sentences": len(ids),
        "states the fact": {
            name: {"share": round(found.value, 4), "low": round(found.low, 4), "high": round(found.high, 4)}
            for name, found in estimates.items()
        },
        "cohen_kappa": round(cohen_kappa(*labels), 4),
        "apart": [name for name in ids if first[name] != second[name]],
    }
