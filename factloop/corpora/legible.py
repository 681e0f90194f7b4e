"""Text of pages and cells as a reader sees it: without footnote marks, tokenisation and characters that are not seen."""

from __future__ import annotations

import re
import unicodedata

from .rows import Rule

NEEDED = "(?:citation|clarification|page|date) needed|(?:when|who|which|by whom)\\?"
MARK = rf"(?:\d{{1,3}}|[A-Za-z]|(?:note|notes|nb|n|fn|ref)\.? ?\d{{1,3}}|{NEEDED})"
FOOTNOTE = re.compile(rf"(?<=\S)\[{MARK}\](?!\w)")
SPACED_FOOTNOTE = re.compile(rf" \[ {MARK} \]")
# Soft hyphens, zero-width spaces, marks of writing direction, placeholders of objects.
UNSEEN = dict.fromkeys([0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF, 0xFFFC])
HALF = re.compile(r"[\ud800-\udfff]")
CLOSING = re.compile(r" (?=[,.;:!?%)\]}\u2019]|'(?:(?:s|re|ve|ll|d|m|t|em)\b|[ .,;:!?)]|$)|n't\b)")
OPENING = re.compile(r"(?<=[(\[{$\u00a3\u20ac]) ")


def tidy(text: str) -> str:
    """White space and control characters (SciTLDR has some) as single spaces."""
    if text.isprintable() and "  " not in text:  # nearly all text is: a third of the time
        return text.strip()
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()


def whole(text: str) -> None:
    """Rule if the text cannot be written as UTF-8: JSON may name half of a character."""
    if half := HALF.search(text):
        raise Rule(f"has half of a character (the surrogate U+{ord(half.group()):04X})")


def legible(text: str) -> str:
    """`tidy`, each letter one character with its accents, without unseen characters and footnote marks.

    A mark that is all there is stays: it may be what the cell says. Rule where half a character stands.
    """
    if not text.isprintable():
        whole(text)
        text = text.translate(UNSEEN)
    seen = tidy(unicodedata.normalize("NFC", text))
    return tidy(FOOTNOTE.sub("", seen)) or seen if "[" in seen else seen


def detokenised(text: str) -> str:
    """Text of a corpus that was cut into tokens in the manner of the Penn Treebank, as it was written."""
    plain = tidy(text)
    return legible(OPENING.sub("", CLOSING.sub("", SPACED_FOOTNOTE.sub("", plain) if "[" in plain else plain)))
