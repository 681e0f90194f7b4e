"""Whole HTML pages that contain tables: their data tables and their prose, as Wikipedia keeps them or anyone else."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .html_tables import Table, mark_lines, table_of_element, text_of_element, without_controls
from .rows import Rule, decoded

if TYPE_CHECKING:
    from lxml.html import HtmlElement

LARGEST_PAGE = 20_000_000  # bytes; nothing in an archive is read beyond this
UNSEEN = (
    "//sup[contains(@class,'reference') or contains(@class,'noprint')]|//style|//script|//span[@class='mw-editsection']"
    "|//*[contains(translate(@style,' ',''),'display:none') or contains(translate(@style,' ',''),'visibility:hidden')]"
)
ENDS = (".", "!", "?", '."', ".\u201d", ".)", "\u3002", "\uff01", "\uff1f")
WIKITABLE = "contains(concat(' ',normalize-space(@class),' '),' wikitable ')"
PROSE = "//p[not(ancestor::table)]|//li[not(ancestor::table or .//li or .//p)]"


def pages_of(path: Path) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """(number, (name, bytes)) of each HTML file of a tar archive; nothing is unpacked to disk."""
    number = 0
    try:
        # Gunzipped here: tarfile takes a gzip that breaks off for the end of the archive. A stream: what was read is forgotten.
        with _gunzipped(path) as content, tarfile.open(fileobj=content, mode="r|") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith((".html", ".htm")):
                    number += 1
                    stream = archive.extractfile(member)
                    yield number, (member.name, stream.read(LARGEST_PAGE + 1) if stream else b"")
                archive.members = []  # type: ignore[attr-defined]  # which it would keep, one for each file
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise Rule(f"not a tar archive that can be read ({error})") from None


def _gunzipped(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def page_of(path: Path) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """The page that is a file."""
    with path.open("rb") as stream:
        yield 1, (path.name, stream.read(LARGEST_PAGE + 1))


def page_tables(content: bytes) -> tuple[str, str, list[Table | Rule | None]]:
    """What the page is about, its prose, and its data tables; none where it has no prose.

    A table is None if it has fewer than two columns or no row of data, and a Rule if it breaks
    that. Data tables are those of class `wikitable`; on a page without any, those with header cells. A table
    within a table is one of its own, and no part of the cell that it is in. Rule if the page cannot be read.
    """
    import lxml.etree
    import lxml.html

    if len(content) > LARGEST_PAGE:
        raise Rule(f"a page of more than {LARGEST_PAGE:,} bytes")
    text = decoded(content)
    if not text.strip():
        raise Rule("an empty page")
    try:
        # As bytes: text that declares its encoding is refused.
        parser = lxml.html.HTMLParser(encoding="utf-8", huge_tree=False, remove_comments=True, remove_pis=True)
        root = lxml.html.document_fromstring(text.encode(), parser=parser)
    except lxml.etree.LxmlError as error:
        raise Rule(f"not HTML ({error})") from None
    without_controls(root)
    for hidden in root.xpath(UNSEEN):
        if hidden.getparent() is not None:
            hidden.drop_tree()
    mark_lines(root)
    page = subject(root)
    prose = " ".join(text for element in root.xpath(PROSE) if (text := text_of_element(element)).endswith(ENDS))
    if not prose or not page:
        return page, prose, []
    marked = root.xpath(f"//table[{WIKITABLE}]") or root.xpath("//table[./tr/th or ./*/tr/th]")
    found = [_read(table) for table in reversed(marked)]  # those within others first
    return page, prose, found[::-1]


def _read(element: HtmlElement) -> Table | Rule | None:
    """The table, which is taken out of the page."""
    try:
        table = table_of_element(element)
    except Rule as rule:
        return rule
    finally:
        title = section(element)
        element.drop_tree()
    return table and Table(table.caption or title, table.header, table.rows)


def section(table: HtmlElement) -> str:
    """The heading above a table."""
    headings = table.xpath("(preceding::h2|preceding::h3|preceding::h4)[last()]")
    return text_of_element(headings[-1]) if headings else ""


def subject(root: HtmlElement) -> str:
    """What the page is about: by Wikipedia's convention, the first words in bold of its prose; else its heading or title."""
    for path in ("(//p[not(ancestor::table)]//b[normalize-space()])[1]", "(//h1[normalize-space()])[1]", "//head/title"):
        for element in root.xpath(path):
            if text := text_of_element(element):
                return text
    return ""
