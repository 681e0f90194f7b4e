"""Readers of published formats: each yields rows in one of the project's own shapes.

documents: id, document, summary · questions: id, passage, questions · pages: id, title, header,
rows, text · table_questions: id, title, header, rows, question, answer, short_answer.
A row that the format does not allow raises BadRow with file, row number and rule.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .rows import BadRow, Row, read_rows, read_text

Reader = Callable[[Path], Iterator[Row]]


def tidy(text: str) -> str:
    """White space and control characters (SciTLDR has some) as single spaces."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()


def _text(path: Path, number: int, row: Row, field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(path, number, f"field {field!r} is {'absent' if value is None else 'empty or not text'}")
    return tidy(value)


def xsum(path: Path) -> Iterator[Row]:
    for number, row in enumerate(read_rows(path), 1):
        yield {
            "id": _text(path, number, row, "id"),
            "document": _text(path, number, row, "document"),
            "summary": _text(path, number, row, "summary"),
        }


def dialogsum(path: Path) -> Iterator[Row]:
    for number, row in enumerate(read_rows(path), 1):
        summary = "summary" if "summary" in row else "summary1"  # the test set has three references
        yield {
            "id": _text(path, number, row, "fname"),
            "document": _text(path, number, row, "dialogue"),
            "summary": _text(path, number, row, summary),
        }


def scitldr(path: Path) -> Iterator[Row]:
    for number, row in enumerate(read_rows(path), 1):
        if not isinstance(row.get("source"), list) or not isinstance(row.get("target"), list) or not row["target"]:
            raise BadRow(path, number, "fields 'source' and 'target' must be lists of sentences")
        joined = {"source": " ".join(map(str, row["source"])), "target": str(row["target"][0])}
        yield {
            "id": _text(path, number, row, "paper_id"),
            "document": _text(path, number, joined, "source"),
            "summary": _text(path, number, joined, "target"),
        }


def squad(path: Path) -> Iterator[Row]:
    """SQuAD v1.1: one row per paragraph, each distinct answer of a question once."""
    try:
        articles = json.loads(read_text(path))["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BadRow(path, 1, f"not SQuAD v1.1 ({type(error).__name__}: {error})") from None
    for number, paragraph in enumerate(paragraphs, 1):
        context = _text(path, number, paragraph, "context")
        questions = []
        for item in paragraph["qas"]:
            answers = dict.fromkeys(tidy(answer["text"]) for answer in item["answers"])
            questions += [{"question": _text(path, number, item, "question"), "answer": answer} for answer in answers if answer]
        if questions:
            yield {"id": f"{path.stem}-{number}", "passage": context, "questions": questions}


def _table(path: Path, number: int, lines: Any) -> tuple[list[str], list[list[str]]]:
    if not isinstance(lines, list) or len(lines) < 2 or len({len(line) for line in lines}) != 1:
        widths = sorted({len(line) for line in lines}) if isinstance(lines, list) else []
        raise BadRow(path, number, f"a table needs a header and rows of one width, this has widths {widths}")
    clean = [[tidy(str(cell)) for cell in line] for line in lines]
    return clean[0], clean[1:]


def fetaqa(path: Path) -> Iterator[Row]:
    """FeTaQA: the question, its table and a free-form answer; no short answer is given."""
    for number, row in enumerate(read_rows(path), 1):
        header, rows = _table(path, number, row.get("table_array"))
        title = f"{_text(path, number, row, 'table_page_title')}: {row.get('table_section_title') or ''}".rstrip(": ")
        yield {
            "id": f"fetaqa-{row['feta_id']}", "page": row["table_page_title"], "title": title, "header": header, "rows": rows,
            "question": _text(path, number, row, "question"), "answer": _text(path, number, row, "answer"), "short_answer": None,
        }  # fmt: skip


def ottqa(path: Path) -> Iterator[Row]:
    """OTT-QA tables with the passages that their cells link to, as the text of the page."""
    for number, row in enumerate(read_rows(path), 1):
        lines = [[cell[0] for cell in row["header"]], *([cell[0] for cell in line] for line in row["data"])]
        header, rows = _table(path, number, lines)
        text = " ".join([row.get("intro") or "", row.get("section_text") or "", *row.get("passages", {}).values()])
        text = html.unescape(re.sub(r" ([,.;:)'])", r"\1", tidy(text)))
        if rows and text:
            yield {
                "id": f"ottqa-{row['uid']}",
                "page": row["title"],
                "title": f"{row['title']}: {row.get('section_title') or ''}".rstrip(": "),
                "header": header,
                "rows": rows,
                "text": text,
            }


READERS: dict[str, Reader] = {reader.__name__: reader for reader in (xsum, dialogsum, scitldr, squad, fetaqa, ottqa)}
