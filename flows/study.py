"""Have people compare two summarisers, blind, and record what they said.

    python -m flows.study export world-summarizer@champion world-summarizer/1 --out mystudy
    python -m flows.study export 2f6c…e1 90ab…77 --out mystudy --examples 100 --raters 2     # evaluations by their run ids
    python -m flows.study read mystudy answers-…-rater-1.csv answers-…-rater-2.csv

`export` writes a page and a CSV form for each rater into mystudy/for-raters, and mystudy/key.json, which says
which summary is whose: keep that from the raters. `read` says how often the first was better, and records it with
both evaluations in MLflow. Both take seconds and are a person's to start, so there is no Prefect flow. See docs/study.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from factloop.study import AXES, read_answers
from factloop.study.answers import Verdicts
from tasks.console import console as terminal
from tasks.console import say
from tasks.failures import told
from tasks.parent import make_store
from tasks.study import FOR_RATERS, KEY, NoStudy, Study, make_study, read_study, write_study
from tasks.study_results import cells, check_runs, record_study, results_of


def export(options: argparse.Namespace) -> None:
    study = make_study(options.first, options.second, options.examples, options.seed, options.raters)
    write_study(study, options.out)
    first, second = (escape(side.name) for side in study.rated)
    say(f"[bold]{first}[/bold] against [bold]{second}[/bold]: {len(study.pairs)} pairs for {len(study.sheets)} raters")
    say(f"of {study.examples} test examples {study.identical} have the same summary twice: left out")
    say(f"give    {escape(str(options.out / FOR_RATERS))}: to each rater the page, or the form, of their number")
    say(f"keep    {escape(str(options.out / KEY))}: it says which summary is whose")


def read(options: argparse.Namespace) -> None:
    study = read_study(options.folder)
    answers = read_answers(options.answers, study.id, study.sheets)
    make_store()
    check_runs(study)
    show(study, answers, record_study(study, answers, options.answers))


def show(study: Study, answers: Mapping[int, Verdicts], path: Path) -> None:
    first, second = (escape(side.name) for side in study.rated)
    raters = f"{len(answers)} rater{'s' if len(answers) > 1 else ''}"
    say(f"{len(study.pairs)} pairs by {raters}; of {study.examples} test examples {study.identical} have the same summary twice: left out")
    table = Table(title=f"{first} against {second}", title_justify="left", title_style="bold")
    found = {axis: cells(said) for axis, said in results_of(study, answers).items()}
    for name in ("axis", *next(iter(found.values()))):
        table.add_column(name)
    for axis, texts in found.items():
        table.add_row(AXES[axis], *map(escape, texts.values()))
    terminal.print(table)
    say(f"report  {escape(str(path))}, and as artifacts of both runs")


def whole(text: str, least: int = 0) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number of at least {least} is asked")
    return int(text)


def count(text: str) -> int:
    return whole(text, 1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="export|read")
    exporting = verbs.add_parser("export", help="blind pairs for raters")
    exporting.add_argument("first", help="an evaluation's MLflow run id, or name@alias or name/version of a registered summariser")
    exporting.add_argument("second", help="what it is compared with, evaluated on the same test examples")
    exporting.add_argument("--out", type=Path, required=True, help="a new folder")
    exporting.add_argument("--examples", type=count, default=50, help="pairs at most (default: 50)")
    exporting.add_argument("--seed", type=whole, default=1, help="of the draw and of the order (default: 1)")
    exporting.add_argument("--raters", type=count, default=3, help="sheets, each in an order of its own (default: 3)")
    exporting.set_defaults(run=export)
    reading = verbs.add_parser("read", help="what raters answered")
    reading.add_argument("folder", type=Path, help="what export wrote")
    reading.add_argument("answers", type=Path, nargs="+", help="a CSV file of each rater")
    reading.set_defaults(run=read)
    options = parser.parse_args(arguments)
    with told("study", NoStudy, FileNotFoundError, IsADirectoryError, NotADirectoryError):
        options.run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
