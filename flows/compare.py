"""Compare runs or model versions, example by example: what differs, by how much, and what that shows.

    python -m flows.compare 3f2a... 9c1b...                          # parent runs of retrain, or evaluation runs
    python -m flows.compare world-summarizer@champion world-summarizer@challenger
    python -m flows.compare world-summarizer/3 world-summarizer/5 world-summarizer/8

Every difference is of the later less the earlier. Refused where gate judges or test data differ; see docs/compare.md.
"""

from __future__ import annotations

import argparse
import sys

from rich.markup import escape
from rich.table import Table

from tasks.compare import LETTERS, Comparison, Pair, compare
from tasks.console import console as terminal
from tasks.console import number, say, signed
from tasks.evaluations import Refused
from tasks.failures import told


def pair_table(pair: Pair) -> Table:
    """Metrics down: both values, the difference, and what it shows."""
    later, earlier = pair.label[0], pair.label[4:]
    title = f"{pair.kind}: {later} less {earlier}, {len(pair.first.rows)} examples"
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("metric", earlier, later, "difference [95% interval]", "p", "p (Holm)", f"{later} is", "80% of tries show"):
        table.add_column(column)
    for name, found in pair.differences.items():
        values = [number(pair.value(side, name)) for side in (pair.first, pair.second)]
        detectable = f"±{number(found.detectable())}" if found.differing else "no example differs"
        table.add_row(name, *values, signed(found), f"{found.p:.2g}", f"{pair.adjusted[name]:.2g}", pair.shown(name), detectable)
    return table


def show(comparison: Comparison) -> None:
    for letter, name in zip(LETTERS, comparison.names, strict=False):
        say(f"[bold]{letter}[/bold]  {escape(name)}")
    for pair in comparison.pairs:
        terminal.print(pair_table(pair))
    for note in comparison.notes:
        say(escape(note))
    say(f"page    {escape(str(comparison.page))}  (by kind of example, and where they differ most)")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="RUN_OR_VERSION", help="a run id, or a model version: name@alias or name/number")
    options = parser.parse_args(arguments)
    if not 2 <= len(options.names) <= len(LETTERS):
        parser.error(f"between 2 and {len(LETTERS)} runs or versions are compared, not {len(options.names)}")
    with told("compare", Refused):
        show(compare(options.names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
