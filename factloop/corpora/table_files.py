"""A person's table: CSV (or tab-separated, or with semicolons) or JSONL, as title, header and rows of text.

Cells are text whatever they look like: a formula is not computed, markup not rendered. BadRow names file,
row (the line at which it starts) and rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .csv_files import csv_lines, text_lines
from .own import clean_text
from .rows import BadRow, Row, Rule, as_object, lines

WIDEST, TALLEST = 200, 10_000
DELIMITERS = ",;\t"
ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl", ".jsonl.gz")


def read_table(path: Path, title: str | None = None) -> Row:
    """Title, header and rows, all of one width; the title is the file's name where none is given.

    Empty columns and rows are left out, other columns without a name are called by their number, and a name
    that stands twice gets a number. Cells that lie beyond the header must be empty.
    """
    if not path.name.endswith(ENDINGS):
        raise BadRow(path, 1, f"the file's name must end with one of {', '.join(ENDINGS)}")
    numbered = list(_objects(path) if ".jsonl" in path.name else _lines(path))
    if len(numbered) < 2:
        raise BadRow(path, 1, "a table has a header and a row at least")
    start, header = numbered[0]
    while header and not header[-1]:
        header = header[:-1]
    if not 0 < len(header) <= WIDEST or len(numbered) - 1 > TALLEST:
        raise BadRow(path, start, f"{len(header)} columns and {len(numbered) - 1} rows; from 1 to {WIDEST} and to {TALLEST:,} are read")
    rows = []
    for number, line in numbered[1:]:
        if len(line) < len(header) or any(line[len(header) :]):
            raise BadRow(path, number, f"{len(line)} cells where the header has {len(header)}")
        rows.append(line[: len(header)])
    kept = [index for index, name in enumerate(header) if name or any(line[index] for line in rows)]
    names = _distinct([header[index] or f"column {index + 1}" for index in kept])
    called = title if title is not None else path.name.partition(".")[0].replace("_", " ").replace("-", " ")
    return {"title": called, "header": names, "rows": [[line[index] for index in kept] for line in rows]}


def _distinct(names: list[str]) -> list[str]:
    taken: set[str] = set()
    for index, name in enumerate(names):
        count = 1
        while names[index] in taken:
            count += 1
            names[index] = f"{name} ({count})"
        taken.add(names[index])
    return names


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row that is not empty, with the line at which it starts."""
    first = next(text_lines(path), "")
    delimiter = "\t" if ".tsv" in path.name else max(DELIMITERS, key=first.count)
    for number, cells in csv_lines(path, delimiter):
        found = [_cell(path, number, cell) for cell in cells]
        if any(found):
            yield number, found


def _objects(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The fields of each object, those of the first as header; all have the same."""
    names: list[str] | None = None
    for number, line in lines(path):
        try:
            row = as_object(line)
        except Rule as rule:
            raise BadRow(path, number, str(rule)) from None
        if names is None:
            names = list(row)
            yield number, [_cell(path, number, name) for name in names]
        if set(row) != set(names):
            raise BadRow(path, number, f"its fields are {sorted(row)}, those of the first {sorted(names)}")
        if any(isinstance(value, list | dict) for value in row.values()):
            raise BadRow(path, number, "a field is a list or an object, neither text nor a number")
        yield number, [_cell(path, number, "" if row[name] is None else str(row[name])) for name in names]


def _cell(path: Path, number: int, text: str) -> str:
    try:
        return " ".join(clean_text("cell", text).split())
    except Rule as rule:
        raise BadRow(path, number, str(rule)) from None
