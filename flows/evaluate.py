"""Judge your own file: summaries of documents, or answers to questions about tables.

    python -m flows.evaluate summaries.jsonl           # fields document and summary; reference and id if you have them
    python -m flows.evaluate mine.csv --document article --summary output --reference gold --out scores.csv
    python -m flows.evaluate mine.jsonl --model summarizer                         # the champion writes the summaries
    python -m flows.evaluate mine.jsonl --model models:/world-summarizer@champion
    python -m flows.evaluate questions.jsonl           # fields question, table and answer
    python -m flows.evaluate fetaqa.jsonl --id feta_id --reference answer --model table-qa

Writes a table with a row for each of yours, beside your file, and a report; see docs/evaluate.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from prefect import flow
from rich.markup import escape

from factloop.corpora.own import COLUMNS, read_own
from tasks.console import console as terminal
from tasks.console import metric_table, say
from tasks.evidence import TRACED, trace_examples
from tasks.failures import told
from tasks.gate import each_example
from tasks.memo import Done
from tasks.own import NotReady, Own, judge_rows, prepare_own, statuses, write_pages
from tasks.profiles import load_profile
from tasks.server import prefect_api

METRICS = [
    "quals",
    "quals_low",
    "quals_worst",
    "quals_answer",
    "quals_answer_worst",
    "qags",
    "qags_worst",
    "factcc",
    "factcc_worst",
    "no_evidence",
    "unigrams",
    "bigrams",
    "trigrams",
    "values",
    "rouge1",
    "rouge2",
    "rougeL",
    "bleu",
    "bleu_lowercase",
    "meteor",
]


class Refused(ValueError):
    """A file that may not be read or written."""


@flow(name="evaluate", flow_run_name="evaluate-{own.name}", validate_parameters=False)
def evaluate(own: Own, scores: Path, traces: int = TRACED) -> tuple[Done, Path]:
    """Judge the rows; returns what was measured and the path of the report."""
    done = judge_rows(own)
    if own.judges:
        trace_examples(done, traces)
    return done, write_pages(own, done, scores)


def scores_path(file: Path, out: Path | None, overwrite: bool) -> Path:
    """Where the table of scores goes; Refused, before any work, if it must not or cannot."""
    path = out or file.with_name(f"{file.name.removesuffix('.gz').rpartition('.')[0]}.scores.csv")
    if path.exists() and path.samefile(file):
        raise Refused(f"{path}: this is the file to judge")
    if path.exists() and not (overwrite and path.is_file()):
        raise Refused(f"{path} exists; --overwrite replaces it, --out names another")
    if not os.access(path.parent, os.W_OK):
        raise Refused(f"{path}: its folder is not there or cannot be written to; --out names another place")
    return path


def show(own: Own, done: Done, scores: Path, report: Path) -> None:
    counts = ", ".join(f"{count} {status}" for status, count in statuses(each_example(done)).items())
    say(f"[bold]{escape(own.name)}[/bold]  {int(done.metrics['examples'])} {own.kind}: {counts}")
    terminal.print(metric_table(f"Written by {escape(own.writer)}", {"value [95% interval]": done}, METRICS))
    say("the same file by the same judge: taken from an earlier run" if done.reused else f"judged in {done.seconds:.0f} s")
    for name, path in (("scores", scores), ("report", report)):
        say(f"{name}  {escape(str(path))}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSONL or CSV, UTF-8, gzipped or not")
    parser.add_argument("--profile", default="world", help="whose judge measures, a file in configs/ (default: world)")
    parser.add_argument("--model", help="a registered model that writes the summaries or answers (default: they are in the file)")
    parser.add_argument("--kind", choices=["summaries", "tables"], help="what is in the file (default: told from its fields)")
    parser.add_argument("--out", type=Path, help="the table of scores (default: <file>.scores.csv beside the file)")
    parser.add_argument(
        "--skip-bad-rows", action="store_true", help="judge the other rows of a file with broken ones (default: none of it)"
    )
    parser.add_argument("--traces", type=int, default=TRACED, metavar="N", help="examples to trace in MLflow, worst first (default: 20)")
    parser.add_argument("--overwrite", action="store_true", help="replace the table of scores if it exists")
    for name in COLUMNS:
        parser.add_argument(f"--{name}", metavar="FIELD", help=f"your field for the {name}, if not {name!r}")
    options = parser.parse_args(arguments)
    columns = {name: field for name in COLUMNS if (field := getattr(options, name))}
    with told("evaluate", Refused, NotReady, FileNotFoundError, IsADirectoryError):
        profile = load_profile(options.profile)
        scores = scores_path(options.file, options.out, options.overwrite)
        kind, rows = read_own(options.file, options.kind, columns, not options.model, options.skip_bad_rows)
        own = prepare_own(options.file.name, kind, rows, profile, options.model)
        with prefect_api():
            done, report = evaluate(own, scores, options.traces)
            show(own, done, scores, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
