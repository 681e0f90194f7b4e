"""What a judge cannot judge: named per example, instead of a score that would be silent about it."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..seq2seq import Seq2Seq

NOT_FINITE = "not finite: the judge gave NaN or infinity"
UNKNOWN = 0.5  # share of a text's tokens or letters that may be unknown
# A vocabulary knows a script that it has so many words of, or such a share of words: BERT's of English has Cyrillic letters by letter, with
# 8 words of two or more, and byte-level ones spell what they never saw in bytes, so that no token is unknown.
WORDS, SHARE = 100, 0.01
IDEOGRAPHS = "CJK"  # a letter of these is a word, and who reads them knows ten times as many: BERT's vocabulary of English has 488


def script(letter: str) -> str:
    """The first word of its Unicode name, as LATIN, CYRILLIC or CJK: Python knows no scripts."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]


@functools.lru_cache(maxsize=8)
def known_scripts(tokenizer: Any) -> frozenset[str]:
    """The scripts that its vocabulary has words of."""
    words: Counter[str] = Counter()
    vocabulary = tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens)
    for token in vocabulary:
        found = Counter(script(sign) for sign in tokenizer.convert_tokens_to_string([token]) if sign.isalpha())
        words.update(name for name, letters in found.items() if letters > 1 or name == IDEOGRAPHS)
    least = min(WORDS, SHARE * len(vocabulary))
    return frozenset(name for name, count in words.items() if count >= least * (10 if name == IDEOGRAPHS else 1))


def foreign(judge: Seq2Seq, name: str, text: str) -> str | None:
    """Why a text is none that the judge's tokenizer takes, or one in scripts that it does not know."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"not text: the {name} has a lone surrogate at character {error.start}"
    letters = Counter(script(sign) for sign in text if sign.isalpha())
    strange = {found: count for found, count in letters.items() if found not in known_scripts(judge.tokenizer)}
    if sum(strange.values()) > UNKNOWN * letters.total():
        named = ", ".join(sorted(strange, key=lambda found: -strange[found])[:3])
        count = f"{sum(strange.values())} of {letters.total()} letters"
        return f"unknown_script: {count} of the {name} are {named}, of which the judge knows no words"
    return None


def illegible(judge: Seq2Seq, name: str, text: str) -> str | None:
    """Why there is nothing in a text for a judge to read: it is `foreign`, or has no letter or digit."""
    return foreign(judge, name, text) or (None if any(map(str.isalnum, text)) else f"empty: the {name} has no letter or digit")


def unread(judge: Seq2Seq, name: str, ids: Sequence[int]) -> str | None:
    """Why the judge cannot read a text of these tokens: it knows too few of them."""
    if (unknown := list(ids).count(judge.tokenizer.unk_token_id)) > UNKNOWN * len(ids):
        return f"unreadable: {unknown} of {len(ids)} tokens of the {name} are unknown to the judge"
    return None


def unfit(judge: Seq2Seq, document: str, summary: str, pieces: int) -> str | None:
    """Why `judge` can give no score, None where it can: it reads a summary whole, and a document in at most `pieces` windows."""
    room = judge.window.source - 1
    for name, text in (("summary", summary), ("document", document)):
        if trouble := illegible(judge, name, text):
            return trouble
        windows = judge.pieces(text)
        if name == "summary" and len(windows) > 1:
            return f"too long: summary of {len(judge.ids([[text]], sys.maxsize)[0]) - 1} tokens, the judge reads {room}"
        if len(windows) > pieces:
            return f"too long: document of {len(windows)} windows of {room} tokens, the judge reads {pieces}"
        if trouble := unread(judge, name, [token for window in windows for token in window[:-1]]):
            return trouble
    return None
