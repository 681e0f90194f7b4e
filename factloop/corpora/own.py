"""A person's own file: JSONL or CSV of documents and summaries, or of tables and questions.

The whole file is read and checked before anything else happens. What breaks a rule raises BadRow
with the file, the line at which the row starts, and the rule; or, where bad rows are to be skipped,
stands in the place of its row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from .csv_files import csv_lines, csv_records
from .rows import BadRow, Row, Rule, as_object, lines, parsed

Kind = Literal["summaries", "tables"]
COLUMNS = ("id", "document", "summary", "reference", "question", "table", "answer")
"""What a file may have; `columns` maps these to the file's own names where those differ."""
CSV, JSONL = (".csv", ".csv.gz"), (".jsonl", ".jsonl.gz")
NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def read_own(
    path: Path, kind: Kind | None = None, columns: Mapping[str, str] | None = None, written: bool = True, skip: bool = False
) -> tuple[Kind, list[Row]]:
    """The kind of the file, told from its columns where none is given, and its rows.

    Rows of summaries have id, document, summary and reference; rows of tables id, question, title,
    header, rows, answer and reference. `reference` may be None. With `written` false `summary` and
    `answer` are not read and None: a model is to write them. Rows of a file without ids are called by
    their lines. With `skip` a bad row has the same fields, empty, and `bad`: file, row and rule. What breaks
    the file as such is refused all the same, and so is a file of bad rows alone.
    """
    named = {name: name for name in COLUMNS} | dict(columns or {})
    found = _numbered(path)
    kind = kind or _kind(path, *_telling(path, found if skip else found[:1], named), named)
    hollow = (
        {"document": "", "summary": ""} if kind == "summaries" else {"question": "", "title": "", "header": [], "rows": [], "answer": ""}
    )

    def read(fields: Row) -> Row:
        row = _summary(fields, named, written) if kind == "summaries" else _question(path, fields, named, written)
        return row | {"reference": _text(fields, named["reference"]) if fields.get(named["reference"]) not in (None, "") else None}

    rows = _called(path, found, columns or {}, read, hollow | {"reference": None} if skip else None)
    if all("bad" in row for row in rows):
        raise BadRow(path, found[0][0], f"it and every other is a bad row: {rows[0]['bad']}")
    return kind, rows


def read_incoming(path: Path, kind: Kind, columns: Mapping[str, str] | None = None) -> list[Row]:
    """Rows that nothing was written about yet: id and document; or id, title, header, rows and question, None where there is none."""
    named = {name: name for name in COLUMNS} | dict(columns or {})

    def read(fields: Row) -> Row:
        if kind == "summaries":
            return {"document": _text(fields, named["document"])}
        asked = fields.get(named["question"]) not in (None, "")
        return {"question": _text(fields, named["question"]) if asked else None} | _table(path, fields, named["table"])

    return _called(path, _numbered(path), columns or {}, read)


def _called(
    path: Path, found: list[tuple[int, Row | Rule]], columns: Mapping[str, str], read: Callable[[Row], Row], hollow: Row | None = None
) -> list[Row]:
    """What `read` makes of the fields of each row, with its id, which no other row has; `hollow` in the place of bad rows."""
    rows = []
    seen: dict[str, int] = {}
    for number, fields in found:
        try:
            fields = _row(fields)
            missing = [name for name in columns.values() if name not in fields]
            if missing:
                raise Rule(f"there is no field {missing[0]!r}; there are {sorted(fields)}")
            name = columns.get("id", "id")
            row: Row = {"id": _id(fields[name]) if name in fields else str(number)} | read(fields)
            if row["id"] in seen:
                raise Rule(f"the id {row['id']!r} is that of row {seen[row['id']]} too")
        except (Rule, BadRow) as rule:  # BadRow: of a table's own file
            if hollow is None:
                raise rule if isinstance(rule, BadRow) else BadRow(path, number, str(rule)) from None
            row = hollow | {"id": f"row {number}", "bad": f"{path.name}: row {number}: {rule}"}  # an id of its own may be what is wrong
        seen[row["id"]] = number
        rows.append(row)
    return rows


def _row(fields: Row | Rule) -> Row:
    if isinstance(fields, Rule):
        raise fields
    return fields


def _telling(path: Path, found: list[tuple[int, Row | Rule]], named: Mapping[str, str]) -> tuple[int, Row]:
    """The first row that tells the kind of the file, else the first that is one."""
    rows = [(number, fields) for number, fields in found if isinstance(fields, dict)]
    if not rows:
        raise BadRow(path, found[0][0], str(found[0][1]))
    return next((item for item in rows if (named["document"] in item[1]) != (named["question"] in item[1])), rows[0])


def _numbered(path: Path) -> list[tuple[int, Row | Rule]]:
    """The rows of a file as its format gives them, at least one, each with the line at which it starts; a rule for one that breaks it."""
    if path.name.endswith(CSV):
        found = list(csv_records(path))
    elif path.name.endswith(JSONL):
        found = [(number, _object(line)) for number, line in lines(path)]
    else:
        raise BadRow(path, 1, f"the file's name must end with one of {', '.join(JSONL + CSV)}")
    if not found:
        raise BadRow(path, 1, "the file has no rows")
    return found


def _object(line: bytes) -> Row | Rule:
    try:
        return as_object(line)
    except Rule as rule:
        return rule


def _kind(path: Path, number: int, first: Row, named: Mapping[str, str]) -> Kind:
    document, question = named["document"] in first, named["question"] in first
    if document == question:
        which = "both" if document else "neither"
        raise BadRow(
            path, number, f"{which} {named['document']!r} and {named['question']!r} among its fields {sorted(first)}: "
            "say which field is which (--document, --question), or the kind (--kind)",
        )  # fmt: skip
    return "summaries" if document else "tables"


def _summary(fields: Row, named: Mapping[str, str], written: bool) -> Row:
    return {"document": _text(fields, named["document"]), "summary": _text(fields, named["summary"]) if written else None}


def _question(path: Path, fields: Row, named: Mapping[str, str], written: bool) -> Row:
    question = {"question": _text(fields, named["question"]), "answer": _text(fields, named["answer"]) if written else None}
    return question | _table(path, fields, named["table"])


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise Rule(f"its id is {value!r:.40}, neither text nor a whole number")
    return clean_text("id", str(value))


def _text(fields: Row, name: str) -> str:
    if name not in fields:
        raise Rule(f"there is no field {name!r}; there are {sorted(fields)}")
    value = fields[name]
    if not isinstance(value, str):
        raise Rule(f"field {name!r} is {'null' if value is None else f'a {type(value).__name__}'}, not text")
    if not value.strip():
        raise Rule(f"field {name!r} is empty")
    return clean_text(name, value)


def clean_text(name: str, text: str) -> str:
    strange = NO_TEXT.search(text)
    if strange:
        raise Rule(f"field {name!r} has the control character U+{ord(strange.group()):04X} (character {strange.start() + 1})")
    return text.strip()


def _table(path: Path, fields: Row, column: str) -> Row:
    """Title, header and rows of a table given as an object, as a list of rows, as either in JSON, or as a file."""
    titles = [fields.get(name) for name in ("title", "table_page_title", "table_section_title")]
    value: Any = fields.get(column) or {name: fields[name] for name in ("header", "rows", "table_array") if fields.get(name)}
    if isinstance(value, str):
        value = parsed(value) if value.lstrip()[:1] in ("{", "[") else _table_file(path.resolve().parent, value)
    if isinstance(value, dict):
        titles = [value["title"]] if value.get("title") else titles
        parts = {name: parsed(part) if isinstance(part, str) else part for name, part in value.items() if name != "title"}
        rows = parts.get("rows")
        value = parts.get("table_array") or [parts.get("header"), *(rows if isinstance(rows, list) else [])]
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(line, list) and line for line in value):
        raise Rule(f"no table in field {column!r}: an object with header and rows, a list of rows, or the path of a .csv file is asked")
    for index, line in enumerate(value[1:], 1):
        if len(line) != len(value[0]):
            raise Rule(f"row {index} of its table has {len(line)} cells where the header has {len(value[0])}")
    header, *body = ([_cell(cell) for cell in line] for line in value)
    return {"title": clean_text("title", ": ".join(str(title) for title in titles if title)), "header": header, "rows": body}


def _cell(value: Any) -> str:
    if isinstance(value, list | dict):
        raise Rule(f"a cell of its table is a {type(value).__name__}, neither text nor a number")
    return clean_text("table", "" if value is None else str(value))


def _table_file(folder: Path, name: str) -> list[list[str]]:
    """A table from a CSV file in the folder of the file that names it, or below."""
    try:
        file = (folder / name).resolve()
        inside = file.is_relative_to(folder) and file.is_file()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or a ring of links
        inside = False
    if not inside or file.suffix != ".csv":
        raise Rule(f"its table {name[:100]!r} is neither JSON nor a .csv file in {folder} or below")
    return [cells for _, cells in csv_lines(file)]
