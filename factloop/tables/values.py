"""What the cells of a table's columns are: numbers in one unit, dates, or text.

A column is read as a careful person would read it, or it is text: a number whose separators could
mean two things, a date that could be two days, or a unit that changes on the way is not guessed at.
"""

from __future__ import annotations

import re
import unicodedata
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

MISSING = {"", "-", "--", "—", "–", "−", "?", "n/a", "na", "n.a.", "none", "nil", "tba", "tbd", "unknown", "...", "…", "null", "nan"}
FOOTNOTES = re.compile(r"(?:\s*(?:\[\s*(?:\d{1,3}|[a-z]{1,2}|(?:note|nb|n|fn)\s*\d{1,3})\s*\]|[*†‡§]))+\s*$", re.IGNORECASE)
CURRENCY = r"(?:[A-Z]{1,3}\s?)?[$€£¥₹₩]"
UNIT = r"[^\W\d_]+[²³]?"
NUMBER = re.compile(
    rf"(?P<sign>[-−–+])?\s?(?P<before>{CURRENCY})?\s?(?P<inner>[-−–+])?"
    rf"(?P<whole>[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]*)(?P<part>\.[0-9]+)?\s?(?P<after>%|{UNIT}(?:[ /]{UNIT})?)?"
)
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
MONTH = "|".join([*MONTHS, *(name[:3] for name in MONTHS), "sept"])
NO_UNIT = re.compile(rf"(?:{MONTH}|am|pm|a|p|bc|ad|bce|ce|st|nd|rd|th|o|to|x|v|e|d)", re.IGNORECASE)
WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?\s?,?\s)?"
DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{WEEKDAY}(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?(?P<month>{MONTH})\.?\s?,?\s(?P<year>[0-9]{{4}})",
        rf"{WEEKDAY}(?P<month>{MONTH})\.?\s(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?(?:\s?,\s?|\s)(?P<year>[0-9]{{4}})",
        r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})",
        rf"(?P<month>{MONTH})\.?\s?,?\s(?P<year>[0-9]{{4}})",
        r"(?P<year>[0-9]{4})",
    )
)
EARLIEST, LATEST = 1000, 2199  # years; a number outside is none


@dataclass(frozen=True)
class Quantity:
    value: Decimal
    before: str
    """The currency."""
    after: str
    """The unit, or a percent sign."""
    decimals: int
    separated: bool


@dataclass(frozen=True, order=True)
class Span:
    """The days that a date may mean: one for a day, a month's or a year's for those."""

    first: date
    last: date

    def touches(self, other: Span) -> bool:
        return self.first <= other.last and other.first <= self.last

    @property
    def grain(self) -> Literal["days", "months", "years"]:
        if self.first == self.last:
            return "days"
        return "months" if self.first.month == self.last.month else "years"


@dataclass(frozen=True)
class Column:
    name: str
    cells: tuple[str, ...]
    """Without footnotes; the table keeps them."""
    numbers: tuple[Quantity, ...] | None
    """Where every cell is a number and all are in one unit."""
    spans: tuple[Span, ...] | None
    """Where every cell is a date."""
    adds: bool
    """Whether a sum of the numbers means something."""
    keys: tuple[object, ...]
    """Equal for cells that a person would call the same."""


@dataclass(frozen=True)
class Headers:
    """Words of headers, in small letters, that say what is under them."""

    years: frozenset[str] = frozenset()
    """Four digits are a year."""
    names: frozenset[str] = frozenset()
    """Numbers are names or places in an order, not quantities."""
    no_sums: frozenset[str] = frozenset()
    """Numbers are quantities that do not add up."""


ANY = Headers()


def plain(cell: str) -> str:
    """A cell's text without footnotes, white space as single spaces."""
    return " ".join(FOOTNOTES.sub("", cell).split())


def is_missing(text: str) -> bool:
    return text.casefold() in MISSING


def number(text: str) -> Quantity | None:
    """The number that a text consists of, with its unit; None if it is none or could be read in two ways.

    Not read: decimal commas, leading zeros (codes), ranges, fractions, numbers in brackets, times, scores.
    """
    found = NUMBER.fullmatch(text)
    if not found or not (found["whole"] or found["part"]) or (found["sign"] and found["inner"]):
        return None
    whole, after = found["whole"].replace(",", ""), found["after"] or ""
    fraction = any(unicodedata.numeric(letter, None) and letter not in "²³" for letter in after)
    if (len(whole) > 1 and whole.startswith("0")) or fraction or NO_UNIT.fullmatch(after):
        return None
    negative = (found["sign"] or found["inner"] or "+") != "+"
    value = Decimal(f"{whole or 0}{found['part'] or ''}")
    before = (found["before"] or "").replace(" ", "")
    return Quantity(-value if negative else value, before, after, len(found["part"] or ".") - 1, "," in found["whole"])


def dated(text: str) -> Span | None:
    """The day, month or year that a text consists of; None if it is none. 05/12/1998 is two days, so none."""
    for pattern in DATES:
        found = pattern.fullmatch(text)
        if not found:
            continue
        part = found.groupdict()
        year, named = int(part["year"]), part.get("month") or ""
        if not EARLIEST <= year <= LATEST:
            return None
        if not named:
            return Span(date(year, 1, 1), date(year, 12, 31))
        month = int(named) if named.isdigit() else [name[:3] for name in MONTHS].index(named[:3].lower()) + 1
        if not 1 <= month <= 12:
            return None
        last = monthrange(year, month)[1]
        day = int(part.get("day") or 0)
        if "day" not in part:
            return Span(date(year, month, 1), date(year, month, last))
        return Span(date(year, month, day), date(year, month, day)) if 1 <= day <= last else None
    return None


def column(name: str, cells: Sequence[str], headers: Headers = ANY) -> Column:
    """A column with its cells read as its name allows."""
    texts = tuple(plain(cell) for cell in cells)
    words = {*re.findall(r"[^\W\d_]+|#", name.casefold())}
    numbers, spans = _numbers(texts), _spans(texts)
    if spans and all(span.grain == "years" for span in spans):
        # Four digits from 1000 to 2199 are years or they are numbers: the header says so, or nothing does.
        spans, numbers = (spans if words & headers.years else None), None
    if words & headers.names:
        numbers = None
    adds = numbers is not None and numbers[0].after != "%" and not words & headers.no_sums
    return Column(name, texts, numbers, spans, adds, tuple(_key(text) for text in texts))


def _numbers(texts: Sequence[str]) -> tuple[Quantity, ...] | None:
    found = [number(text) for text in texts]
    read = tuple(item for item in found if item)
    if len(read) != len(texts) or not read:
        return None
    units = {(item.before, item.after.casefold()) for item in read}
    # 1.500 beside 950 may be a thousand and a half or one and a half.
    thousands = {item.decimals == 3 for item in read} == {True, False} and not all(item.separated or item.decimals for item in read)
    return None if len(units) > 1 or thousands else read


def _spans(texts: Sequence[str]) -> tuple[Span, ...] | None:
    found = [dated(text) for text in texts]
    read = tuple(item for item in found if item)
    return read if read and len(read) == len(texts) else None


def _key(text: str) -> object:
    read = number(text)
    if read:
        return read.value, read.before, read.after.casefold()
    return dated(text) or text.casefold()


def written(value: Decimal, like: Sequence[Quantity]) -> str:
    """A number as the given ones are written: decimals, thousands separators, currency and unit."""
    places = max(item.decimals for item in like)
    digits = f"{abs(value):,.{places}f}" if any(item.separated for item in like) else f"{abs(value):.{places}f}"
    unit = like[0].after
    space = " " if unit and unit != "%" else ""
    return f"{'-' if value < 0 else ''}{like[0].before}{digits}{space}{unit}"


def time_between(one: Span, other: Span) -> int | None:
    """How many days, months or years lie between two dates of one grain; None where the grains differ."""
    if one.grain != other.grain:
        return None
    first, second = sorted((one.first, other.first))
    if one.grain == "days":
        return (second - first).days
    months = (second.year - first.year) * 12 + second.month - first.month
    return months if one.grain == "months" else months // 12
