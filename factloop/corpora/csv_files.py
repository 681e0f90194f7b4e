"""CSV files of any field length, with errors that name the file, the line and the rule."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from .rows import BadRow, Row, Rule, decoded, raw_lines


def csv_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows below a header, each with the line at which it starts."""
    for number, row in csv_records(path):
        if isinstance(row, Rule):
            raise BadRow(path, number, str(row))
        yield number, row


def csv_records(path: Path) -> Iterator[tuple[int, Row | Rule]]:
    """The same, with the rule in the place of a row that breaks one and leaves those after it to be read."""
    cells = csv_lines(path)
    start, header = next(cells, (1, []))
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BadRow(path, start, f"the header names {', '.join(map(repr, twice))} more than once")
    for number, line in cells:
        if len(line) != len(header):
            yield number, Rule(f"{len(line)} fields where the header has {len(header)}")
        else:
            yield number, dict(zip(header, line, strict=True))


def text_lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(raw_lines(path), 1):
        try:
            yield decoded(line)
        except Rule as rule:
            raise BadRow(path, number, str(rule)) from None


def csv_lines(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """The cells of each row that is not blank, with the line at which it starts."""
    csv.field_size_limit(sys.maxsize)  # a document is one field here, and the default is 128 KB
    reader = csv.reader(text_lines(path), delimiter=delimiter, strict=True)
    start = 1
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise BadRow(path, start, f"not CSV ({error})") from None
