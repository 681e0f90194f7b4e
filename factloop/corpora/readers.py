"""Readers of published formats: records of a file become rows in one of the project's own shapes.

documents: id, document, summary · questions: id, passage, questions · pages: id, page, title,
header, rows, text, and where text is linked from the table passages (name, span in the text, rows that
link to it) · table_questions: id, page, title, header, rows, question, answer, short_answer ·
judged: document, summary, label, errors, system (what people judged; never trained on).

A format is an iterator of a file's records and a function that turns one record into rows, so
that one bad record can be named, and set aside, without losing those after it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .csv_files import csv_rows
from .html_tables import Table, check_size
from .legible import detokenised, legible, tidy, whole
from .rows import BadRow, Row, Rule, as_object, contents, lines, parsed
from .wikipedia import page_of, page_tables, pages_of

Refuse = Callable[[BadRow], None]
"""What becomes of a bad row: raise it, or note it and go on."""


def stop(bad: BadRow) -> None:
    raise bad


@dataclass(frozen=True)
class Format:
    """`records` yields (number from 1, raw record); `rows` reads one, or raises Rule."""

    records: Callable[[Path], Iterator[tuple[int, Any]]]
    rows: Callable[[Any], Sequence[Row | Rule]]
    """Of a record with many rows some may be a Rule: the others are kept."""


def read(path: Path, form: Format, refuse: Refuse = stop) -> Iterator[Row]:
    """The rows of a file; of each record that breaks a rule `refuse` is told.

    Raises BadRow where the file as a whole cannot be read, or has nothing to read.
    """
    found = False
    try:
        for number, record in form.records(path):
            for row in rows_of(form, record):
                found = True
                if isinstance(row, Rule):
                    refuse(BadRow(path, number, str(row)))
                else:
                    yield row
    except Rule as rule:
        raise BadRow(path, 1, str(rule)) from None
    if not found:
        raise BadRow(path, 1, "the file has no rows")


def rows_of(form: Format, record: Any) -> Sequence[Row | Rule]:
    """The rows of a record, or the rules that it breaks."""
    try:
        return form.rows(record)
    except Rule as rule:
        return [rule]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        return [Rule(f"not of this format ({type(error).__name__}: {error})")]


def text_of(row: Row, field: str) -> str:
    """A field as text; Rule if it is absent, empty, not text, or holds a NUL character."""
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise Rule(f"field {field!r} is {'absent' if value is None else 'empty or not text'}")
    if "\0" in value:
        raise Rule(f"field {field!r} has a NUL character")
    whole(value)
    return tidy(value)


def table_of(table: Any, clean: Callable[[str], str] = legible) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a list of lines; Rule if they are not of one width, or too many."""
    if not isinstance(table, list) or not all(isinstance(line, list) for line in table):
        raise Rule("a table must be a list of rows, each a list of cells")
    if len(table) < 2 or len({len(line) for line in table}) != 1:
        raise Rule(f"a table needs a header and rows of one width, this has widths {sorted({len(line) for line in table})}")
    check_size(len(table) - 1, len(table[0]))
    cleaned = [[clean(str(cell)) for cell in line] for line in table]
    return cleaned[0], cleaned[1:]


def document(identity: str, text: str, summary: str) -> Callable[[Row], list[Row]]:
    """A reader of records that name these three fields."""
    return lambda row: [{"id": text_of(row, identity), "document": text_of(row, text), "summary": text_of(row, summary)}]


def dialogsum(line: bytes) -> list[Row]:
    row = as_object(line)
    return document("fname", "dialogue", "summary" if "summary" in row else "summary1")(row)  # its test set has three references


def scitldr(line: bytes) -> list[Row]:
    """The abstract, and the first of its TLDRs."""
    row = as_object(line)
    if not isinstance(row.get("source"), list) or not isinstance(row.get("target"), list) or not row["target"]:
        raise Rule("fields 'source' and 'target' must be lists of sentences")
    return document("paper_id", "source", "target")(row | {"source": " ".join(map(str, row["source"])), "target": row["target"][0]})


def paragraphs(path: Path) -> Iterator[tuple[int, Row]]:
    content = parsed(contents(path))
    try:
        found = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
    except (KeyError, TypeError) as error:
        raise Rule(f"not SQuAD v1.1 ({type(error).__name__}: {error})") from None
    yield from ((number, {"number": number, "file": path.stem, "paragraph": paragraph}) for number, paragraph in enumerate(found, 1))


def squad(record: Row) -> list[Row]:
    """A paragraph of SQuAD v1.1 with its questions, each distinct answer of a question once."""
    context = text_of(record["paragraph"], "context")
    questions = []
    for item in record["paragraph"]["qas"]:
        answers = dict.fromkeys(text_of(answer, "text") for answer in item["answers"])
        questions += [{"question": text_of(item, "question"), "answer": answer} for answer in answers]
    return [{"id": f"{record['file']}-{record['number']}", "passage": context, "questions": questions}] if questions else []


def titled(page: str, section: Any) -> str:
    return f"{page}: {tidy(str(section or ''))}".rstrip(": ")


def fetaqa(line: bytes) -> list[Row]:
    """FeTaQA: the question, its table and a free-form answer; no short answer is given."""
    row = as_object(line)
    header, rows = table_of(row.get("table_array"))
    page = text_of(row, "table_page_title")
    return [{
        "id": f"fetaqa-{row['feta_id']}", "page": page, "title": titled(page, row.get("table_section_title")), "header": header,
        "rows": rows, "question": text_of(row, "question"), "answer": text_of(row, "answer"), "short_answer": None,
    }]  # fmt: skip


def ottqa(line: bytes) -> list[Row]:
    """OTT-QA: a table with the passages that its cells link to, as the text of the page."""
    row = as_object(line)
    return linked_table(row, row.get("passages") or {})


def linked_table(table: Row, passages: Mapping[str, str]) -> list[Row]:
    """A table as OTT-QA and HybridQA keep it, its cells being [text, links].

    Its text is the page's own, and then each passage, with the rows that link to it.
    """
    header, rows = table_of([[cell[0] for cell in line] for line in (table["header"], *table["data"])], detokenised)
    linking: dict[str, list[int]] = {}
    for number, line in enumerate(table["data"]):
        for link in dict.fromkeys(link for cell in line for link in cell[1]):
            linking.setdefault(link, []).append(number)
    parts: list[str] = []
    found: list[Row] = []
    begin = 0
    own = [(name, table.get(name), None) for name in ("intro", "section_text")]
    linked = ((link, passages.get(link), numbers) for link, numbers in linking.items())
    for name, content, numbers in (*own, *linked):
        if content and (part := detokenised(html.unescape(content))):
            found.append({"name": name, "span": [begin, begin + len(part)]} | ({} if numbers is None else {"rows": numbers}))
            begin += len(part) + 1
            parts.append(part)
    text = " ".join(parts)
    page = text_of(table, "title")
    named = {"id": f"ottqa-{text_of(table, 'uid')}", "page": page, "title": titled(page, table.get("section_title"))}
    return [named | {"header": header, "rows": rows, "text": text, "passages": found}] if text else []


def wikipedia(record: tuple[str, bytes]) -> list[Row | Rule]:
    """A whole HTML page: each of its data tables, with the prose of the page."""
    name, content = record
    page, prose, tables = page_tables(content)

    def row(position: int, table: Table) -> Row:
        return {
            "id": f"{name}#{position}", "page": page, "title": titled(page, table.caption), "header": table.header,
            "rows": table.rows, "text": prose,
        }  # fmt: skip

    return [table if isinstance(table, Rule) else row(position, table) for position, table in enumerate(tables) if table]


def own_page(line: bytes) -> list[Row]:
    """A table and its page in the project's own shape, or as OTT-QA keeps them."""
    row = as_object(line)
    if "data" in row:
        return linked_table(row, row.get("passages") or {})
    header, rows = table_of([row["header"], *row["rows"]])
    page, text, passages = text_of(row, "page"), text_of(row, "text"), row.get("passages") or []
    if passages:
        text = row["text"]  # as it is: spans are in it
    for passage in passages:
        begin, end = passage["span"]
        if not 0 <= begin < end <= len(text) or not set(passage.get("rows", [])) <= set(range(len(rows))):
            raise Rule(f"passage {passage['name']!r} is outside the text, or links to rows that the table does not have")
    title = tidy(str(row.get("title") or page))
    return [
        {"id": text_of(row, "id"), "page": page, "title": title, "header": header, "rows": rows, "text": text}
        | ({"passages": passages} if passages else {})
    ]


def qags(line: bytes) -> list[Row]:
    """A summary whose sentences people judged: its label is the share that most of them found consistent."""
    row = as_object(line)
    try:
        sentences = [
            (tidy(item["sentence"]), [answer["response"] == "yes" for answer in item["responses"]]) for item in row["summary_sentences"]
        ]
        label = sum(2 * sum(answers) > len(answers) for _, answers in sentences) / len(sentences)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise Rule(f"field 'summary_sentences' must be sentences with responses ({type(error).__name__}: {error})") from None
    return [{"document": text_of(row, "article"), "summary": " ".join(text for text, _ in sentences), "label": label}]


def labelled(row: Row, text: str = "document") -> list[Row]:
    """A judged summary: `label` from 0 (inconsistent) to 1; `system` and `edit_types` (what is wrong) if they are there."""
    label = row.get("label")
    if isinstance(label, bool) or not isinstance(label, int | float) or not 0 <= label <= 1:
        raise Rule(f"field 'label' is {label!r}; it must be a number from 0 to 1")
    errors = row.get("edit_types") or []
    if not isinstance(errors, list):
        raise Rule(f"field 'edit_types' is a {type(errors).__name__}, not a list")
    more = {"system": str(row["system"])} if row.get("system") else {}
    return [
        {"document": text_of(row, text), "summary": text_of(row, "summary"), "label": float(label), "errors": [*map(str, errors)]} | more
    ]


def items(path: Path) -> Iterator[tuple[int, Any]]:
    content = parsed(contents(path))
    if not isinstance(content, list):
        raise Rule(f"a {type(content).__name__}, not a list of records")
    yield from enumerate(content, 1)


def lined(rows: Callable[[Row], list[Row]]) -> Format:
    return Format(lines, lambda line: rows(as_object(line)))


READERS: dict[str, Format] = {
    "xsum": lined(document("id", "document", "summary")),
    "aeslc": lined(document("id", "document", "summary")),
    "dialogsum": Format(lines, dialogsum),
    "scitldr": Format(lines, scitldr),
    "mts-dialog": Format(csv_rows, document("ID", "dialogue", "section_text")),
    "squad": Format(paragraphs, squad),
    "fetaqa": Format(lines, fetaqa),
    "ottqa": Format(lines, ottqa),
    "wikipedia": Format(pages_of, wikipedia),
    "html": Format(page_of, wikipedia),
    "tables": Format(lines, own_page),
    "qags": Format(lines, qags),
    "summedits": Format(items, lambda row: labelled(row, "doc")),
    "labelled": lined(labelled),
}
