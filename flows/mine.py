"""Mine sentences that state rows of tables, from pages and tables of your own.

    python -m flows.mine pages.tar.gz --out mined.jsonl                 # whole HTML pages, in an archive
    python -m flows.mine page.html tables.jsonl.gz --out mined.jsonl    # a page; tables with linked passages
    python -m flows.mine tables.jsonl --out mined.jsonl --leave-out fetaqa/test.jsonl --workers 8
    python -m flows.mine tables.jsonl --out mined.jsonl --engine ray    # needs pip install 'ray[data]'

Writes a row for each sentence: page, table, the sentence, and the cells that it states with row, column and
character span. What cannot be read is counted, and listed beside it in `mined.jsonl.refused.jsonl`. See docs/mining.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from factloop.faults import kill_point
from factloop.settings import MiningSettings

# Nothing heavy here: each worker imports this module.


class Refused(ValueError):
    """Files that may not be read or written, or that give nothing."""


def titles(files: list[Path]) -> frozenset[str]:
    """The page titles of JSONL files: fields `table_page_title` (FeTaQA) or `page`."""
    from factloop.corpora.rows import BadRow, read_rows

    found = set()
    for file in files:
        for number, row in enumerate(read_rows(file), 1):
            title = row.get("table_page_title", row.get("page"))
            if not isinstance(title, str):
                raise BadRow(file, number, f"neither 'table_page_title' nor 'page' among its fields {sorted(row)}")
            found.add(title)
    return frozenset(found)


def check(files: list[Path], out: Path, overwrite: bool) -> None:
    if out.resolve() in [file.resolve() for file in files]:
        raise Refused(f"{out}: this is a file to mine")
    if out.exists() and not (overwrite and out.is_file()):
        raise Refused(f"{out} exists; --overwrite replaces it, --out names another")
    if not os.access(out.parent, os.W_OK):
        raise Refused(f"{out}: its folder is not there or cannot be written to")


def run(options: argparse.Namespace) -> tuple[Counter[str], list[tuple[str, int, str]]]:
    """Mine into the file; returns counts by rule, and what was refused."""
    from tqdm import tqdm

    from factloop.corpora.rows import Row, write_rows
    from factloop.tables.corpus import Rules, mine_files, records

    counts: Counter[str] = Counter()
    refused: list[tuple[str, int, str]] = []
    aside = options.out.with_name(f"{options.out.name}.refused.jsonl")
    rules = Rules(options.settings, titles(options.leave_out))
    total = sum(1 for file in options.files for _ in records(file))
    with tqdm(total=total, desc="mining", unit=" documents", mininterval=1) as bar:

        def ended(documents: int) -> None:
            bar.update(documents)
            bar.set_postfix(sentences=counts["kept"], refresh=False)

        def found() -> Iterator[Row]:
            yield from mine_files(options.files, rules, counts, refused.append, options.engine, options.workers, ended)
            # Before the other has its name: where that is, nothing is left to do.
            if refused:
                write_rows(aside, ({"file": file, "row": number, "rule": rule} for file, number, rule in refused))
            else:
                aside.unlink(missing_ok=True)
            kill_point("mined:refused")

        write_rows(options.out, found())
    if not counts["tables"] and not counts["tables left out by title"]:
        options.out.unlink()
        first = "".join(f"\n  {file}: row {number}: {rule}" for file, number, rule in refused[:5])
        raise Refused(f"no table with text about it in {', '.join(map(str, options.files))}, {len(refused)} refused{first}")
    return counts, refused


def show(counts: Counter[str], refused: list[tuple[str, int, str]], out: Path) -> None:
    for name, count in sorted(counts.items()):
        print(f"{count:12,} {name}")
    for file, number, rule in refused[:5]:
        print(f"refused  {file}: row {number}: {rule}")
    if refused:
        print(f"refused  {len(refused):,} documents or tables, in {out}.refused.jsonl")
    print(f"mined    {counts['kept']:,} sentences, in {out}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help=".tar.gz or .html of pages; .jsonl[.gz] or .zip of tables")
    parser.add_argument("--out", type=Path, required=True, help="the JSONL file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace it if it exists")
    parser.add_argument("--engine", choices=["processes", "ray"], default="processes", help="of this machine (default), or Ray Data")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="how many work at once (default: every core)")
    parser.add_argument(
        "--leave-out", type=Path, action="append", default=[], metavar="FILE", help="JSONL whose pages, by title, are not mined"
    )
    for name, default in (("shortest", MiningSettings.shortest), ("longest", MiningSettings.longest)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"words of the {name} sentence (default: {default})")
    parser.add_argument(
        "--anywhere", action="store_true", help="a sentence about a single row need not begin with its name: more, and less sure"
    )
    options = parser.parse_args(arguments)
    from concurrent.futures.process import BrokenProcessPool

    from factloop.tables.ray_engine import EngineAbsent
    from tasks.failures import told

    if options.workers < 1:
        parser.error("--workers must be at least 1")
    try:
        options.settings = MiningSettings(options.shortest, options.longest, not options.anywhere)
    except ValueError as error:
        parser.error(str(error))
    with told("mine", Refused, EngineAbsent, BrokenProcessPool, FileNotFoundError, IsADirectoryError):
        check(options.files, options.out, options.overwrite)
        show(*run(options), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
