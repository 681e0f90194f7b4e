"""Tables cut to a model's window so that the rows that matter stay (TAPEX's idea, Liu et al. 2022).

A table that fits is left as it is. Of one that does not, rows are kept by what they share with the question
and, where a model learns, the answer; at test time the answer is not known and the question alone decides.
Rows with what the answer states go first of all, so that no model learns to say what its input does not
have; `lost_evidence` says what is lost all the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..seq2seq import Special
from .linearise import linearise, row_parts
from .matching import find_cell, lowered

Lengths = Callable[[Sequence[str]], list[int]]
"""Tokens of each text, without special ones."""

CELL = 16  # tokens of a cell or column name that nothing points to, where whole ones take too much (TAPEX: 15)
TITLE = 32  # tokens of the title of a table that does not fit
NAMED = 4.0  # what a cell that is named whole counts for, beside a word that is as rare
COMMON = {
    *("a", "an", "and", "are", "as", "at", "by", "did", "do", "does", "for", "from", "had", "has", "have", "how", "in", "is", "it"),
    *("many", "much", "of", "on", "or", "than", "that", "the", "their", "this", "to", "was", "were"),
    *("what", "when", "where", "which", "who", "whom", "whose", "why", "with"),
}


@dataclass(frozen=True)
class Fitted:
    parts: list[str]
    """The input: question, title, header and rows as `linearise` writes them."""
    rows: tuple[int, ...]
    """Which rows are in it."""
    columns: tuple[int, ...]


def stated_cells(rows: Sequence[Sequence[str]], answer: str | None) -> set[str]:
    """Texts of cells that an answer states: those of two characters or more within it, and any that is all of it."""
    said = lowered((answer or "").strip())
    cells = {cell.strip() for row in rows for cell in row} - {""} if said else set()
    return {cell for cell in cells if lowered(cell) == said or (len(cell) > 1 and find_cell(lowered(cell), said))}


def lost_evidence(fitted: Fitted, rows: Sequence[Sequence[str]], answer: str | None) -> set[str]:
    """Texts of cells that an answer states and that the input, cut, does not have."""
    return stated_cells(rows, answer) - {part.strip() for part in fitted.parts}


def words_of(text: str) -> set[str]:
    return {*re.findall(r"\w+", text.lower())} - COMMON


def fit_table(
    question: str, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], answer: str | None, room: int, lengths: Lengths
) -> Fitted:
    """The input of at most `room` tokens, end token not counted; whole if that fits.

    A word that few rows have says more than one that all have; of rows that are equally good the first
    are taken. Where the best rows are too wide, long cells are cut and the least telling columns left out.
    """
    every = tuple(range(len(rows))), tuple(range(len(header)))
    lengths = remembered(lengths)
    if len(rows) * len(header) < room:
        parts = linearise(question, title, header, rows)
        if len(parts) <= room and sum(counted(parts, lengths)) <= room:
            return Fitted(parts, *every)
    question, title = shortened(question, room // 2, lengths), shortened(title, min(TITLE, room // 8), lengths)
    table = _Table(question, header, rows, answer)
    columns = sorted(every[1], key=lambda index: (-table.column_weight(index), index))[: max(1, room // 8)]
    order = table.order()[:room]
    needed = order[: max(1, table.covering)]
    lengths([rows[row][index] for row in order for index in columns])  # all at once: one by one takes a hundred times as long
    left = room - sum(counted(linearise(question, title, [], []), lengths))
    limit = room
    while True:
        shown = sorted(columns)
        names = [shortened(header[index], limit, lengths) for index in shown]
        space = left - sum(lengths(names)) - len(names)
        cut = {row: table.cells(row, shown, limit, lengths) for row in needed}
        if sum(_cost(question, cells, lengths) for cells in cut.values()) <= space or (limit == CELL and len(columns) == 1):
            break
        limit, columns = CELL, columns if limit > CELL else columns[: max(1, len(columns) * 3 // 4)]
    taken = {}
    for row in order:
        cells = cut.get(row) or table.cells(row, shown, limit, lengths)
        cost = _cost(question, cells, lengths)
        if cost <= space:
            space -= cost
            taken[row] = cells
        if space < 2 * len(shown):  # no row is shorter
            break
    kept = sorted(taken)
    parts = linearise(question, title, names, [taken[row] for row in kept])
    return Fitted(parts, tuple(kept), tuple(shown))


def remembered(lengths: Lengths) -> Lengths:
    """The same, asking for no text twice."""
    known: dict[str, int] = {}

    def found(texts: Sequence[str]) -> list[int]:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        known.update(zip(new, lengths(new), strict=True) if new else ())
        return [known[text] for text in texts]

    return found


def shortened(text: str, most: int, lengths: Lengths) -> str:
    """The first words of a text that make at most `most` tokens; of one long word, its first letters."""
    if len(text) <= most or lengths([text])[0] <= most:
        return text
    words = text.split()[:most]
    ends = [" ".join(words[:count]) for count in range(1, len(words) + 1)]
    fit = [end for end, length in zip(ends, lengths(ends), strict=True) if length <= most]
    return fit[-1] if fit else words[0][: max(1, most // 4)]  # a letter may take four bytes, each a token


def counted(parts: Sequence[str], lengths: Lengths) -> list[int]:
    """Tokens of each part of an input."""
    plain = iter(lengths([part for part in parts if not isinstance(part, Special)]))
    return [1 if isinstance(part, Special) else next(plain) for part in parts]


def _cost(question: str, cells: Sequence[str], lengths: Lengths) -> int:
    """Tokens of a row, with those that mark it and its cells."""
    return sum(counted(row_parts(lowered(question), cells), lengths))


class _Table:
    """What in a table the question names and the answer states."""

    def __init__(self, question: str, header: Sequence[str], rows: Sequence[Sequence[str]], answer: str | None) -> None:
        self.header, self.rows = header, rows
        self.asked, small = words_of(question), lowered(question)
        target = self.asked | words_of(answer or "")
        self.stated = stated_cells(rows, answer)
        inside = {cell.strip() for row in rows for cell in row if len(cell) > 1 and cell.strip().lower() in small}
        self.telling = {cell for cell in inside if len(cell) > 1 and find_cell(lowered(cell), small)} | self.stated
        words = [{*re.findall(r"\w+", " ".join(row).lower())} & target for row in rows]
        cells = [self.telling.intersection(map(str.strip, row)) for row in rows]
        spread, copies = Counter(word for line in words for word in line), Counter(cell for line in cells for cell in line)

        def rarity(count: int) -> float:
            return math.log(1 + len(rows) / count)

        self.weights = [
            sum(rarity(spread[word]) for word in sorted(line)) + sum(NAMED * rarity(copies[cell]) for cell in sorted(named))
            for line, named in zip(words, cells, strict=True)
        ]
        self.covering = 0
        """How many of the first rows in `order` hold all that the answer states."""

    def order(self) -> list[int]:
        """Rows, best first: the fewest that hold what the answer states, then by weight."""
        rest = sorted(range(len(self.rows)), key=lambda row: (-self.weights[row], row))
        open_, first = set(self.stated), []
        while open_:
            best = max(rest, key=lambda row: len(open_ & {cell.strip() for cell in self.rows[row]}))  # of equal ones the heaviest
            first.append(best)
            open_ -= {cell.strip() for cell in self.rows[best]}
        self.covering = len(first)
        return list(dict.fromkeys(first + rest))

    def column_weight(self, index: int) -> float:
        cells = {row[index].strip() for row in self.rows}
        telling = len(cells & self.stated) + len(cells & self.telling) + len(words_of(self.header[index]) & self.asked)
        return telling + (index == 0)  # the first column mostly says what a row is about

    def cells(self, row: int, columns: Sequence[int], limit: int, lengths: Lengths) -> list[str]:
        """The cells of a row, those that nothing points to cut to `limit` tokens."""
        line = [self.rows[row][index] for index in columns]
        return [cell if cell.strip() in self.stated else shortened(cell, limit, lengths) for cell in line]
