"""Tokens with the characters they stand for, so that a span of tokens is a span of the text.

In: a text. Out: the windows that a model reads it in, and where in a window an answer stands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..claims.mentions import inside_word
from ..seq2seq import Seq2Seq, starts


@dataclass(frozen=True)
class TextWindow:
    """A stretch of a text, as long as a model reads at once."""

    ids: list[int]
    """Token ids, the end token last."""
    offsets: list[tuple[int, int]]
    """First and last + 1 character of each token but the end token."""
    text: str
    """The whole text that the offsets count in."""

    def span(self, first: int, last: int) -> str:
        """The characters of tokens `first` to `last`."""
        return self.text[self.offsets[first][0] : self.offsets[last][1]].strip()

    def touched(self, span: tuple[int, int]) -> tuple[int, int] | None:
        """The first and the last token that touch a span of characters; None where none does."""
        touched = [index for index, (begin, end) in enumerate(self.offsets) if begin < span[1] and span[0] < end]
        return (touched[0], touched[-1]) if touched else None

    def find(self, answer: str) -> list[tuple[int, int]]:
        """First and last token of every place where `answer` stands in the window as whole words."""
        ends = [end for _, end in self.offsets]
        found = []
        begin = self.text.find(answer) if answer and ends else -1
        while begin >= 0:
            end = begin + len(answer)
            if begin >= self.offsets[0][0] and end <= ends[-1] and not inside_word(self.text, begin) and not inside_word(self.text, end):
                found.append((bisect_right(ends, begin), bisect_right(ends, end - 1)))
            begin = self.text.find(answer, begin + 1)
        return found


def tokenise(seq2seq: Seq2Seq, texts: Sequence[str]) -> list[TextWindow]:
    """Each whole text as one window, however long."""
    if not texts:
        return []
    coded = seq2seq.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    return [
        TextWindow([*ids, seq2seq.eos], offsets, text)
        for text, ids, offsets in zip(texts, coded["input_ids"], coded["offset_mapping"], strict=True)
    ]


def cut(window: TextWindow, start: int, end: int) -> TextWindow:
    """Tokens `start` to `end` - 1 of a window, and the end token."""
    offsets = window.offsets[start:end]
    return TextWindow([*window.ids[start : start + len(offsets)], window.ids[-1]], offsets, window.text)


def pieces(window: TextWindow, room: int) -> list[TextWindow]:
    """A whole text in windows of at most `room` tokens, of which a quarter is shared with the next; at least one."""
    return [cut(window, start, start + room) for start in starts(len(window.offsets), room)]


def one_piece(seq2seq: Seq2Seq, texts: Sequence[str], room: int) -> list[TextWindow]:
    """One piece of each text, drawn by torch's random numbers: what a batch trains on."""
    choices = [pieces(window, room) for window in tokenise(seq2seq, texts)]
    return [group[int(torch.randint(len(group), ()))] for group in choices]
