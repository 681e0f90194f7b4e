"""What a judge cannot judge: named per example, instead of a score that would be silent about it."""

from __future__ import annotations

import re
import sys

from ..seq2seq import Seq2Seq

UNKNOWN = 0.5  # share of unknown tokens from which a text is in a script that the tokenizer does not know


def no_text(name: str, text: str) -> str | None:
    """Why a text is none that a tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"not text: the {name} has a lone surrogate at character {error.start}"
    return None


def unfit(judge: Seq2Seq, document: str, summary: str, pieces: int) -> str | None:
    """Why `judge` can give no score, None where it can: it reads a summary whole, and a document in at most `pieces` windows."""
    room = judge.window.source - 1
    for name, text in (("summary", summary), ("document", document)):
        if trouble := no_text(name, text):
            return trouble
        if not re.search(r"\w", text):
            return f"empty: no word in the {name}"
        windows = judge.pieces(text)
        if name == "summary" and len(windows) > 1:
            return f"too long: summary of {len(judge.ids([[text]], sys.maxsize)[0]) - 1} tokens, the judge reads {room}"
        if len(windows) > pieces:
            return f"too long: document of {len(windows)} windows of {room} tokens, the judge reads {pieces}"
        tokens = [token for window in windows for token in window[:-1]]
        if (unknown := tokens.count(judge.tokenizer.unk_token_id)) > UNKNOWN * len(tokens):
            return f"unreadable: {unknown} of {len(tokens)} tokens of the {name} are unknown to the judge"
    return None
