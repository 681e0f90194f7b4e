"""Ask a table of yours: the registered table-qa model of a profile answers, and says where the table does not.

    python -m flows.ask clubs.csv "Who coached the Hawks?"
    python -m flows.ask clubs.csv "Who coached the Hawks?" --profile news --title "Coaches of the league" --page answer.html

CSV, tab-separated or JSONL, with a header. See docs/tables.md for what the confidence is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from factloop.corpora.own import clean_text
from factloop.corpora.rows import Row, Rule
from factloop.corpora.table_files import read_table
from tasks.ask import answer_question, terminal_table, write_answer
from tasks.console import console as terminal
from tasks.environment import STATE
from tasks.failures import told
from tasks.keys import digest
from tasks.own import NotReady
from tasks.profiles import load_profile

if TYPE_CHECKING:
    from factloop.tables.answer import Answer


class Refused(ValueError):
    """A question or a place for the page that cannot be."""


def asked(text: str) -> str:
    """The question as it may be shown; Refused if there is none."""
    try:
        question = " ".join(clean_text("question", text).split())
    except Rule as rule:
        raise Refused(str(rule)) from None
    if not question:
        raise Refused("the question is empty")
    return question


def page_path(given: Path | None, table: Path, question: str) -> Path:
    """Where the page goes: where it is said to, or under the state folder by table and question."""
    if given is None:
        return STATE / "reports" / f"ask-{digest([str(table.resolve()), question])[:16]}.html"
    if given.suffix != ".html" or not given.parent.is_dir() or given.is_dir():
        raise Refused(f"{given}: the page needs a name that ends with .html, in a folder that is there")
    return given


def show(table: Row, answer: Answer, threshold: float, writer: str, path: Path) -> None:
    if answer.held:
        terminal.print(Text(answer.long), Text(answer.short, "bold"), sep="\n")
    else:
        terminal.print("The table does not hold the answer, as far as the model can tell.", style="bold red")
        if answer.long or answer.short:
            terminal.print(Text(f"What it would have said, not to be relied on: {answer.long} ({answer.short})", "dim"))
    used = ", ".join(f"row {row + 1} {table['header'][column]}: {table['rows'][row][column]}" for row, column in answer.cells)
    terminal.print(Text(f"cells       {used or 'none'}"))
    terminal.print(f"confidence  {answer.confidence:.2f}; from {threshold:.2f} on an answer counts as held")
    terminal.print(Text(f"model       {writer}"))
    terminal.print(Text(f"page        {path}"))
    terminal.print(terminal_table(table, answer))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="CSV, TSV or JSONL, UTF-8, gzipped or not")
    parser.add_argument("question")
    parser.add_argument("--profile", default="world", help="whose model answers, a file in configs/ (default: world)")
    parser.add_argument("--model", default="table-qa", help="another version: models:/NAME@ALIAS or models:/NAME/VERSION")
    parser.add_argument("--title", help="what the table is about (default: the file's name)")
    parser.add_argument("--page", type=Path, help="where the HTML page goes (default: under .factloop/reports)")
    options = parser.parse_args(arguments)
    with told("ask", Refused, NotReady, FileNotFoundError, IsADirectoryError):
        profile, question = load_profile(options.profile), asked(options.question)
        path = page_path(options.page, options.table, question)
        table = read_table(options.table, options.title)
        writer, answer, threshold = answer_question(profile, options.model, table, question)
        write_answer(path, table, question, answer, writer, threshold)
        show(table, answer, threshold, writer, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
