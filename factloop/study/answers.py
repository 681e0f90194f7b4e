"""What raters answered, read from CSV and held against their sheets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..corpora.csv_files import csv_rows
from ..corpora.rows import BadRow, Row
from .pairs import AXES, Sheet

NEEDED = ("study", "rater", "pair", *AXES)
ANSWERS = ("first", "second", "equal")
Verdicts = dict[str, dict[str, int]]
"""By pair and axis: 1 where the first system is better, -1 where the second is, 0 where they are equal."""


def read_answers(paths: Iterable[Path], study: str, sheets: Sequence[Sheet]) -> dict[int, Verdicts]:
    """Verdicts by rater, one file each. BadRow names file, row and rule, at the first that is not an answer to its sheet.

    Needed are the columns `study`, `rater`, `pair` and the axes, each with first, second or equal; others are not
    looked at, so that a filled-in form is an answer too.
    """
    found: dict[int, Verdicts] = {}
    files: dict[int, Path] = {}
    for path in paths:
        rows = list(csv_rows(path))
        sheet = _sheet(path, rows, study, {sheet.rater: sheet for sheet in sheets})
        if sheet.rater in files:
            raise BadRow(path, rows[0][0], f"rater {sheet.rater} has answered already, in {files[sheet.rater]}")
        files[sheet.rater] = path
        found[sheet.rater] = _verdicts(path, rows, dict(sheet.order))
    return found


def _sheet(path: Path, rows: list[tuple[int, Row]], study: str, sheets: Mapping[int, Sheet]) -> Sheet:
    """The sheet that a file answers: one study and one rater in all its rows."""
    if not rows:
        raise BadRow(path, 1, "the file has no rows")
    for name in NEEDED:
        if name not in rows[0][1]:
            hint = "; its fields are parted by semicolons, save it with commas" if any(";" in field for field in rows[0][1]) else ""
            raise BadRow(path, 1, f"there is no column {name!r}{hint}")
    rater = rows[0][1]["rater"].strip()
    for number, row in rows:
        if row["study"].strip() != study:
            raise BadRow(path, number, f"study {row['study']!r:.40} is another one; this is {study}")
        if row["rater"].strip() != rater:
            raise BadRow(path, number, f"rater {row['rater']!r:.40} in a file of rater {rater!r:.40}; each has a file")
    if not rater.isascii() or not rater.isdigit() or int(rater) not in sheets:
        raise BadRow(path, rows[0][0], f"there is no rater {rater!r:.40}; the study has {', '.join(map(str, sheets))}")
    return sheets[int(rater)]


def _verdicts(path: Path, rows: list[tuple[int, Row]], first: Mapping[str, int]) -> Verdicts:
    """What a rater's file says of every pair; `first` is the place of the system that stood first in each."""
    verdicts: Verdicts = {}
    for number, row in rows:
        pair = row["pair"].strip()
        if pair not in first:
            raise BadRow(path, number, f"there is no pair {pair!r:.40} in this study")
        if pair in verdicts:
            raise BadRow(path, number, f"pair {pair!r} is answered twice")
        verdicts[pair] = {}
        for axis in AXES:
            answer = row[axis].strip().lower()
            if answer not in ANSWERS:
                said = f"{axis} is {row[axis]!r:.40}" if answer else f"{axis} has no answer"
                raise BadRow(path, number, f"{said}; first, second or equal is asked")
            verdicts[pair][axis] = 0 if answer == "equal" else 1 if ANSWERS.index(answer) == first[pair] else -1
    if missing := sorted(first.keys() - verdicts.keys()):
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise BadRow(path, rows[-1][0] + 1, f"{len(missing)} of {len(first)} pairs have no answer: {', '.join(missing[:5])}{more}")
    return verdicts
