"""Whole Wikipedia pages, as WikiTableQuestions keeps them: their data tables and their prose.

Tables are read by pandas, which repeats cells over the rows and columns that they span.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .rows import Rule, decoded

if TYPE_CHECKING:
    from lxml.html import HtmlElement

LARGEST_PAGE = 20_000_000  # bytes; nothing in an archive is read beyond this
WIDEST, TALLEST = 200, 10_000
UNSEEN = "//sup[contains(@class,'reference')]|//*[contains(@style,'display:none')]|//style|//script|//span[@class='mw-editsection']"


def pages_of(path: Path) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """(number, (name, bytes)) of each HTML file of a tar archive; nothing is unpacked to disk."""
    try:
        with tarfile.open(path) as archive:
            members = (member for member in archive if member.isfile() and member.name.endswith(".html"))
            for number, member in enumerate(members, 1):
                stream = archive.extractfile(member)
                yield number, (member.name, stream.read(LARGEST_PAGE + 1) if stream else b"")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Rule(f"not a tar archive that can be read ({error})") from None


def page_tables(content: bytes) -> Iterator[tuple[str, str, list[list[str]], str]]:
    """(page, section, header and rows, prose) of each data table of a page that has prose.

    Tables of one column or without a row of data are not yielded. Rule if the page has no text,
    or a table spans more than 200 columns or 10,000 rows.
    """
    import lxml.html
    import pandas as pd

    if len(content) > LARGEST_PAGE:
        raise Rule(f"a page of more than {LARGEST_PAGE:,} bytes")
    text = decoded(content)
    if not text.strip():
        raise Rule("an empty page")
    root = lxml.html.fromstring(text, parser=lxml.html.HTMLParser(huge_tree=False))
    for hidden in root.xpath(UNSEEN):
        hidden.drop_tree()
    paragraphs = [flat(element) for element in root.xpath("//p[not(ancestor::table)]|//li[not(ancestor::table)]")]
    prose = " ".join(text for text in paragraphs if text.endswith((".", "!", "?")))
    page = subject(root)
    if not prose or not page:
        return
    for table in root.xpath("//table[contains(concat(' ',@class,' '),' wikitable ')][not(ancestor::table)]"):
        check_spans(table)
        markup = lxml.html.tostring(table, encoding="unicode")
        try:
            width = pd.read_html(io.StringIO(markup), flavor="lxml")[0].shape[1]
            # As text: left to itself pandas reads 007 and 1,000 as numbers.
            as_written = dict.fromkeys(range(width), str)
            verbatim: Any = {"converters": as_written, "thousands": None, "keep_default_na": False}
            frame = pd.read_html(io.StringIO(markup), flavor="lxml", **verbatim)[0]
        except (ValueError, IndexError):  # pandas: no text in it, or no header and rows of one width
            continue
        if frame.shape[1] < 2 or not len(frame):
            continue
        header = [joined(name if isinstance(name, tuple) else (name,)) for name in frame.columns]
        yield page, section(table), [header, *([str(cell).strip() for cell in row] for row in frame.astype(str).to_numpy())], prose


def check_spans(table: HtmlElement) -> None:
    """Rule where a table claims more cells than a page can mean: a span of a million is an attack."""
    for name, most in (("colspan", WIDEST), ("rowspan", TALLEST)):
        for value in table.xpath(f".//@{name}"):
            if not re.fullmatch(r"\s*\d{1,9}\s*", value) or int(value) > most:
                raise Rule(f"a cell with {name} {value!r:.40}; the most is {most}")
    rows = len(table.xpath(".//tr"))
    if rows > TALLEST:
        raise Rule(f"a table of {rows} rows; the most is {TALLEST}")


def flat(element: HtmlElement) -> str:
    return " ".join(str(element.text_content()).split())


def joined(levels: tuple[object, ...]) -> str:
    """The name of a column, from outer to inner header, each once; pandas' own names left out."""
    return " ".join(dict.fromkeys(str(level) for level in levels if not str(level).startswith("Unnamed: ")))


def section(table: HtmlElement) -> str:
    caption = table.xpath("./caption")
    headings = caption or table.xpath("(preceding::h2|preceding::h3|preceding::h4)[last()]")
    return flat(headings[-1]) if headings else ""


def subject(root: HtmlElement) -> str:
    """What the page is about: by Wikipedia's convention, the first words in bold of its prose."""
    bold = root.xpath("(//p[not(ancestor::table)]//b[normalize-space()])[1]")
    return flat(bold[0]) if bold else ""
