"""Sentences of a text, and the names, numbers and dates in them, by patterns of written English.

In: any text. Out: spans (begin, end) in characters. No model and no package is needed. A spaCy
model, where one is named, finds names, numbers and dates by its own groups instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Span = tuple[int, int]
Kind = Literal["entity", "number", "date"]


@dataclass(frozen=True)
class Mention:
    """A value in a text. Values of one group can stand for each other in a sentence."""

    kind: Kind
    group: str
    text: str
    begin: int
    end: int


FindMentions = Callable[[str], list[Mention]]

TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s|$)|[。！？]+|\n+")
_ABBREVIATIONS = {
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "no", "gen", "col", "sgt", "lt", "rev", "hon", "gov", "sen", "rep",
    "inc", "ltd", "co", "corp", "e.g", "i.e", "a.m", "p.m",
}  # fmt: skip


def sentences(text: str) -> list[Span]:
    """Where each sentence is, without the space around it; only those with a letter or a digit.

    A sentence ends at full stops, question or exclamation marks before a space, and at a line's
    end; not after an initial or a common abbreviation.
    """
    found, begin = [], 0
    for mark in [*_END.finditer(text), None]:
        end = mark.end() if mark else len(text)
        if mark and mark.group().startswith("."):
            last = re.split(r"[\s(\[\"“]", text[max(begin, mark.start() - 20) : mark.start()])[-1]
            if last.lower() in _ABBREVIATIONS or (len(last) == 1 and last.isupper()) or re.fullmatch(r"(?:[A-Z]\.)+[A-Z]", last):
                continue
        part = text[begin:end]
        if any(map(str.isalnum, part)):
            found.append((begin + len(part) - len(part.lstrip()), begin + len(part.rstrip())))
        begin = end
    return found


def folded(text: str) -> str:
    """Letters and signs alone, in lower case: tokenizers of BERT's kind give "$ 4. 5 million" for "$4.5 million", and no accents."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", text.lower()) if not sign.isspace() and not unicodedata.combining(sign))


def places(wanted: str, text: str) -> list[Span]:
    """Where `wanted` stands in `text` as whole words, both folded."""
    signs = [(sign, place) for place, letter in enumerate(text) for sign in folded(letter)]
    whole, searched, found = "".join(sign for sign, _ in signs), "".join(map(folded, wanted)), []
    begin = whole.find(searched) if searched else -1
    while begin >= 0:
        span = signs[begin][1], signs[begin + len(searched) - 1][1] + 1
        if not any(inside_word(text, place) for place in span):
            found.append(span)
        begin = whole.find(searched, begin + 1)
    return found


def inside_word(text: str, position: int) -> bool:
    """Whether a word goes on over `position`."""
    return 0 < position < len(text) and text[position - 1].isalnum() and text[position].isalnum()


_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_FIGURE = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_UNITS = "two|three|four|five|six|seven|eight|nine"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_SCALE = r"(?: (?:hundred|thousand|million|billion|trillion))?"
_VALUE = re.compile(
    r"(?<![\w.,])(?:"
    rf"(?P<day>(?:{_DAY} (?:of )?{_MONTH}|{_MONTH} {_DAY})(?!\d)(?:,? \d{{4}})?)"
    rf"|(?P<month_of_year>{_MONTH},? \d{{4}})"
    rf"|(?P<month>(?!May){_MONTH})"
    r"|(?P<weekday>(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)"
    r"|(?P<time>\d{1,2}:\d{2}(?: ?[ap]\.?m\.?)?|\d{1,2} ?[ap]\.?m)"
    r"|(?P<decade>(?:1\d|20)\d0s)"
    rf"|(?P<money>[$£€¥] ?{_FIGURE}{_SCALE}|{_FIGURE}{_SCALE} (?:dollars|pounds|euros))"
    rf"|(?P<percent>{_FIGURE} ?(?:%|per ?cent))"
    r"|(?P<year>(?:1\d|20)\d\d(?![.,]\d))"
    rf"|(?P<number>(?:{_FIGURE}|(?i:(?:{_TENS})(?:-(?:one|{_UNITS}))?|{_TEENS}|{_UNITS})){_SCALE})"
    r")(?!\w)"
)
_NUMBERS = {"money", "percent", "number"}
_INSIDE_NAMES = {"of", "de", "van", "von", "der", "la", "le", "al", "bin"}
# Words that open sentences with a capital and are no part of the name that may follow.
_OPENERS = {
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "he", "she", "they", "we", "you", "i", "his", "her", "their",
    "our", "your", "my", "one", "there", "here", "in", "on", "at", "by", "for", "from", "of", "to", "with", "as", "and", "but", "or",
    "so", "yet", "if", "when", "while", "where", "who", "what", "which", "why", "how", "after", "before", "since", "until", "during",
    "under", "over", "between", "among", "against", "about", "into", "through", "without", "within", "not", "no", "all", "some", "many",
    "most", "both", "each", "every", "any", "other", "another", "such", "only", "even", "also", "then", "now", "later", "today",
    "yesterday", "tomorrow", "meanwhile", "however", "although", "though", "because", "despite", "instead", "once", "again", "still",
    "just", "more", "than", "is", "are", "was", "were", "has", "have", "had", "do", "does", "did", "will", "would", "can", "could",
    "may", "might", "must", "should", "last", "next", "first", "second", "third", "former", "new", "says", "said",
}  # fmt: skip


def pattern_mentions(text: str) -> list[Mention]:
    """Dates, numbers and names of a text, in order.

    Dates and numbers swap within their form (year, weekday, percent, ...). A name is a run of
    capitalised words; a sentence's first word is part of it where it is capitalised within a
    sentence elsewhere, or where a capitalised word follows and it is no common opener. For want
    of types, names swap within their form: after "the" or not, of one word or of more.
    """
    found = [
        Mention("number" if (group := str(match.lastgroup)) in _NUMBERS else "date", group, match.group(), *match.span())
        for match in _VALUE.finditer(text)
    ]
    taken = {position for mention in found for position in range(mention.begin, mention.end)}
    words = [match for match in re.finditer(r"[^\W\d_](?:\w|['’&.-](?=\w))*", text) if match.start() not in taken]
    openers = {begin for begin, _ in sentences(text)}
    first = {match.start() for match in words if _opens(text, match.start(), openers)}
    within = {match.group() for match in words if match.group()[0].isupper() and match.start() not in first}
    small = {match.group() for match in words if match.group()[0].islower()}
    run: list[re.Match[str]] = []

    def close() -> None:
        while run and run[-1].group() in _INSIDE_NAMES:
            run.pop()
        if run:
            begin, end = run[0].start(), run[-1].end()
            name = text[begin:end]
            end -= 2 if name.endswith(("'s", "’s")) else 0
            the = text[max(0, begin - 4) : begin].lower() == "the "
            form = ("the " if the else "") + ("name" if len(run) == 1 else "long name")
            found.append(Mention("entity", form, text[begin:end], begin, end))
            run.clear()

    for match, following in zip(words, [*words[1:], None], strict=False):
        word = match.group()
        if run and (text[run[-1].end() : match.start()] != " " or run[-1].group().endswith(("'s", "’s"))):
            close()
        named = word[0].isupper() and word != "I" and not word.startswith(("I'", "I’"))
        if named and match.start() in first:
            joined = following is not None and following.group()[0].isupper() and text[match.end() : following.start()] == " "
            named = word in within or (joined and word.lower() not in small)
            named = named and word.lower() not in _OPENERS
        if named or (run and word in _INSIDE_NAMES):
            run.append(match)
        else:
            close()
    close()
    return sorted(found, key=lambda mention: mention.begin)


def _opens(text: str, begin: int, openers: set[int]) -> bool:
    """Whether the word is the first of its sentence or after a colon, quotation marks and brackets aside."""
    while begin > 0 and begin not in openers and text[begin - 1] in "\"'“‘([":
        begin -= 1
    return begin in openers or text[max(0, begin - 2) : begin] == ": "


# The groups that the published transformations swap within.
_SPACY: dict[str, Kind] = {
    **dict.fromkeys(("PERSON", "ORG", "NORP", "FAC", "GPE", "LOC", "PRODUCT", "WORK_OF_ART", "EVENT"), "entity"),
    **dict.fromkeys(("PERCENT", "MONEY", "QUANTITY", "CARDINAL"), "number"),
    **dict.fromkeys(("DATE", "TIME"), "date"),
}  # type: ignore[dict-item]


def spacy_mentions(model: str) -> FindMentions:
    """What a spaCy model takes for names, numbers and dates; ValueError where it is not installed."""
    try:
        import spacy

        read = spacy.load(model)
    except (ImportError, OSError) as error:
        raise ValueError(f"spaCy model {model!r} cannot be loaded ({error}): install it, or leave its name empty for patterns") from None

    def find(text: str) -> list[Mention]:
        entities = [entity for entity in read(text[: read.max_length]).ents if entity.label_ in _SPACY]
        return [Mention(_SPACY[item.label_], item.label_, item.text, item.start_char, item.end_char) for item in entities]

    return find
