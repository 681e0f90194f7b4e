"""Rows of JSONL, read with an error that names the file and line, written whole or not at all."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ..faults import kill_point

Row = dict[str, Any]


class Rule(ValueError):
    """The rule that a record breaks, where file and row are not known yet."""


class BadRow(ValueError):
    """A row that breaks a rule: file, row number (from 1) and rule are in the message."""

    def __init__(self, path: Path | str, number: int, rule: str) -> None:
        super().__init__(f"{path}: row {number}: {rule}")
        self.path, self.number, self.rule = path, number, rule


def open_bytes(path: Path) -> IO[bytes]:
    """The file for reading, gunzipped by its name."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def decoded(data: bytes) -> str:
    """UTF-8 as text; Rule if it is not, or holds a NUL character."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Rule(f"not UTF-8 (byte {error.start}: {error.reason})") from None
    if "\0" in text:
        raise Rule("has a NUL character")
    return text


def parsed(text: str) -> Any:
    """JSON as a value; Rule if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Rule(f"not JSON ({error})") from None


def as_object(line: bytes) -> Row:
    """One line of JSONL; Rule if it is not an object."""
    row = parsed(decoded(line))
    if not isinstance(row, dict):
        raise Rule(f"a {type(row).__name__}, not an object")
    return row


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends, without byte order mark."""
    # Cut at line feeds only: a JSON string may hold U+2028, where `splitlines` would cut.
    with open_bytes(path) as stream:
        number = 0
        try:
            for number, line in enumerate(stream, 1):
                yield line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")
        except (OSError, EOFError, zlib.error) as error:  # a broken gzip
            raise BadRow(path, number + 1, f"cannot be read ({error})") from None


def contents(path: Path) -> str:
    """A whole file as text, without its byte order mark; Rule if it cannot be read as such."""
    try:
        with open_bytes(path) as stream:
            return decoded(stream.read().removeprefix(b"\xef\xbb\xbf"))
    except (OSError, EOFError, zlib.error) as error:  # a broken gzip
        raise Rule(f"cannot be read ({error})") from None


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file by their number from 1, without byte order mark, ends and blank ones."""
    for number, line in enumerate(raw_lines(path), 1):
        if line.strip():
            yield number, line.strip(b"\r\n")


def read_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSONL file, blank lines left out; BadRow at the first that is none."""
    for number, line in lines(path):
        try:
            yield as_object(line)
        except Rule as rule:
            raise BadRow(path, number, str(rule)) from None


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows under another name and rename, so that the file is whole; returns their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".unfinished")
    count = 0
    with scratch.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
            if count == 2:
                stream.flush()
                kill_point("rows:half-written", path.name)
    kill_point("rows:written", path.name)
    scratch.replace(path)
    return count
