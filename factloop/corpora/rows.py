"""Rows of JSONL, read with an error that names the file and line, written whole or not at all."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class BadRow(ValueError):
    """A row that breaks a rule: file, row number (from 1) and rule are in the message."""

    def __init__(self, path: Path | str, number: int, rule: str) -> None:
        super().__init__(f"{path}: row {number}: {rule}")


def read_text(path: Path) -> str:
    """The file as text, gunzipped by its name; BadRow if it is not UTF-8 or has NUL characters."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRow(path, data[: error.start].count(b"\n") + 1, f"not UTF-8 (byte {error.start}: {error.reason})") from None
    if "\0" in text:
        raise BadRow(path, text[: text.index("\0")].count("\n") + 1, "has a NUL character")
    return text


def read_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSONL file, blank lines left out."""
    # Not splitlines: JSON strings may hold U+2028, which that would cut at.
    for number, line in enumerate(read_text(path).replace("\r\n", "\n").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadRow(path, number, f"not JSON ({error})") from None
        if not isinstance(row, dict):
            raise BadRow(path, number, f"a {type(row).__name__}, not an object")
        yield row


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows under another name and rename, so that the file is whole; returns their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".unfinished")
    count = 0
    with scratch.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    scratch.replace(path)
    return count
