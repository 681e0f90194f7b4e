"""A person's question about a table of theirs, answered by a registered model: in the terminal and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from factloop.corpora.rows import Row

from .own import find_model
from .profiles import Profile
from .report import page, save_page

if TYPE_CHECKING:
    from factloop.tables.answer import Answer

ROWS, COLUMNS = 12, 8  # of a table in the terminal
PAGE_ROWS = 200


def answer_question(profile: Profile, model: str, table: Row, question: str) -> tuple[str, Answer, float]:
    """Which model answered, its answer, and the confidence from which it says that the table holds one."""
    import torch

    from factloop.tables.answer import answer_questions
    from factloop.tables.model import TableQA

    writer, done = find_model(profile, "tables", model)
    torch.set_num_threads(profile.threads)
    loaded = TableQA.load(Path(done.path), profile.device)
    (found,) = answer_questions(loaded, [table | {"question": question}])
    return writer, found, loaded.answering.threshold


def shown_rows(table: Row, answer: Answer, most: int) -> list[int]:
    """The first rows of a table, and those that were used wherever they stand."""
    used = sorted({row for row, _ in answer.cells})
    return sorted({*used, *range(min(len(table["rows"]), most - len(used)))})


def terminal_table(table: Row, answer: Answer) -> Table:
    """A part of the table with the used cells highlighted; what cells say is never taken for markup."""
    used = {column for _, column in answer.cells}
    columns = sorted([*used, *(index for index in range(len(table["header"])) if index not in used)][: max(COLUMNS, len(used))])
    rows = shown_rows(table, answer, ROWS)
    drawn = Table(title=Text(table["title"]), title_justify="left")
    for name in ["row", *(table["header"][index] for index in columns)]:
        drawn.add_column(Text(name), overflow="fold")
    for row in rows:
        cells = [Text(table["rows"][row][index], "bold reverse" if (row, index) in answer.cells else "") for index in columns]
        drawn.add_row(str(row + 1), *cells)
    hidden = len(table["rows"]) - len(rows), len(table["header"]) - len(columns)
    if any(hidden):
        drawn.caption = f"{hidden[0]} rows and {hidden[1]} columns more"
    return drawn


def write_answer(path: Path, table: Row, question: str, answer: Answer, writer: str, threshold: float) -> None:
    """The answer with its table as a page, whole or not at all."""
    rows = shown_rows(table, answer, PAGE_ROWS)
    save_page(
        path,
        page(
            "ask.html.jinja",
            table=table,
            question=question,
            answer=answer,
            writer=writer,
            threshold=threshold,
            rows=rows,
            cells=answer.cells,
        ),
        "ask",
    )
