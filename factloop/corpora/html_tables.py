"""Tables of an HTML page as grids of text.

Cells are placed as the HTML standard places them (4.9.12, forming a table): a cell that spans rows or
columns is repeated over them, and no span reaches out of its group of rows. pandas puts a cell that
spans rows into a wrong column where a row below is short, renames columns of one name, and joins the
words on both sides of a line break; so it reads no tables here.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .legible import legible
from .rows import Rule

if TYPE_CHECKING:
    from lxml.html import HtmlElement

WIDEST, TALLEST, MOST_CELLS = 200, 10_000, 200_000
NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
LINES = ("br", "p", "div", "li", "dd", "dt", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "caption", "td", "th")


@dataclass(frozen=True)
class Cell:
    text: str
    heads: bool
    """Whether it is marked up as a header."""


Grid = list[list[Cell | None]]
"""Lines of one width; None where a line ends early."""


@dataclass(frozen=True)
class Table:
    caption: str
    header: list[str]
    """A name for each column; empty where none is given. Two columns may have one name."""
    rows: list[list[str]]


def mark_lines(root: HtmlElement) -> None:
    """Set spaces where a browser breaks lines, and read superscripts, so that the text of an element reads as on the page."""
    for element in root.iter(*LINES):
        element.text, element.tail = f" {element.text or ''}", f" {element.tail or ''}"
    for mark in list(root.iter("sup")):
        mark.text, mark[:] = superscript(_before(mark), str(mark.text_content()).strip()), []


def without_controls(root: HtmlElement) -> None:
    """Spaces for the control characters of a page: lxml reads them, and fails where it has to move them."""
    for element in root.iter():
        if NOT_XML.search(element.text or "") or NOT_XML.search(element.tail or ""):
            element.text, element.tail = (NOT_XML.sub(" ", part or "") for part in (element.text, element.tail))


def superscript(before: str, text: str) -> str:
    """What stands for a superscript after this text: marks of footnotes nothing, a power `^2`, all else itself.

    Joined to what it follows, the mark of a footnote would make another name or number of it.
    """
    word = before.split()[-1] if before.split() else ""
    if text.isdecimal() and word[-1:].isdecimal():
        return f"^{text}"
    if text.isdecimal():
        return text if len(word) <= 3 else ""  # km2, CO2; not Velling2
    return "" if len(text) == 1 or text.startswith("[") else text


def _before(element: HtmlElement) -> str:
    previous, parent = element.getprevious(), element.getparent()
    if previous is None:
        return str((parent.text if parent is not None else "") or "")
    return str(previous.tail or previous.text_content())


def text_of_element(element: HtmlElement) -> str:
    return legible(str(element.text_content()))


def table_of_element(element: HtmlElement) -> Table | None:
    """The table; None if it has fewer than two columns or no row of data. Rule if it is beyond what a page can mean."""
    lines = _even(list(_lines(element)))
    width = len(lines[0]) if lines else 0
    captions = [text_of_element(caption) for caption in element.xpath("./caption")]
    names: list[list[str]] = [[] for _ in range(width)]
    body = next((place for place, line in enumerate(lines) if not _is_one(line) and not _heads(line)), len(lines))
    for line in lines[:body]:
        if _is_one(line):  # a title, not the names of columns
            captions.append(line[0].text if line[0] else "")
            continue
        for name, cell in zip(names, line, strict=True):
            name.append(cell.text if cell else "")
    rows = [[cell.text if cell else "" for cell in line] for line in lines[body:] if not _heads(line) and not _is_one(line)]
    rows = [row for row in rows if any(row)]
    if width < 2 or not rows:
        return None
    header = [" ".join(filter(None, dict.fromkeys(levels))) for levels in names]
    return Table(next(filter(None, captions), ""), header, rows)


def check_size(rows: int, columns: int) -> None:
    """Rule where a table is larger than anyone reads, or a model is shown."""
    if columns > WIDEST or rows > TALLEST or columns * rows > MOST_CELLS:
        raise Rule(
            f"a table of {rows:,} rows and {columns:,} columns; the most is {TALLEST:,} rows, {WIDEST} columns and {MOST_CELLS:,} cells"
        )


def _heads(line: list[Cell | None]) -> bool:
    """Whether a line names columns: all that is in it is marked up as a header, and more than the name of one row is."""
    filled = [cell for cell in line if cell and cell.text]
    return bool(filled) and all(cell.heads for cell in filled) and (len(filled) > 1 or all(cell.heads for cell in line if cell))


def _is_one(line: list[Cell | None]) -> bool:
    return len(line) > 1 and line[0] is not None and all(cell is line[0] for cell in line)


def _even(lines: Grid) -> Grid:
    """All of one width: what a line lacks is empty at its end, as a browser shows it."""
    width = max(map(len, lines), default=0)
    check_size(len(lines), width)
    return [line + [None] * (width - len(line)) for line in lines]


def _groups(element: HtmlElement) -> Iterator[list[HtmlElement]]:
    """The lines of each group of rows; those that stand in none are one."""
    for kind, parts in itertools.groupby(element.xpath("./tr|./thead|./tbody|./tfoot"), key=lambda part: str(part.tag)):
        if kind == "tr":
            yield list(parts)
        else:
            yield from (part.xpath("./tr") for part in parts)


def _lines(element: HtmlElement) -> Iterator[list[Cell | None]]:
    total = 0
    for group in _groups(element):
        held: dict[int, tuple[Cell, int]] = {}  # by column: a cell from above, and in how many more lines it is
        for line in group:
            placed = {column: cell for column, (cell, _) in held.items()}
            held = {column: (cell, more - 1) for column, (cell, more) in held.items() if more > 1}
            column = 0
            for part in line.xpath("./td|./th"):
                while column in placed:
                    column += 1
                cell = Cell(text_of_element(part), part.tag == "th" or line.getparent().tag == "thead")
                down = span_of(part, "rowspan", TALLEST) or TALLEST  # 0: to the end of the group
                across = range(column, column + (span_of(part, "colspan", WIDEST) or 1))
                free = [at for at in across if at not in placed]
                placed |= dict.fromkeys(free, cell)
                held |= dict.fromkeys(free, (cell, down - 1)) if down > 1 else {}
                column = across.stop
            total += len(placed)
            if total > MOST_CELLS:
                raise Rule(f"a table of more than {MOST_CELLS:,} cells")
            yield [placed.get(at) for at in range(max(placed, default=-1) + 1)]


def span_of(cell: HtmlElement, name: str, most: int) -> int:
    """How many rows or columns a cell says that it spans; Rule if that is no number or more than a page can mean."""
    value = str(cell.get(name) or "1").strip()
    if not re.fullmatch(r"\d{1,9}", value) or int(value) > most:
        raise Rule(f"a cell with {name} {value!r:.40}; the most is {most}")
    return int(value)
