"""Is what comes in what the champion was trained on? An alarm, or none, with what moved.

    python -m flows.drift --profile world incoming.jsonl                    # field document
    python -m flows.drift --profile news mails.csv --document body --id number
    python -m flows.drift --profile world --tables asked.jsonl              # field table, and question if there is one
    python -m flows.drift --profile world incoming.jsonl --scores 3f2a...   # and judge scores: a run of flows.evaluate
    python -m flows.drift --profile world incoming.jsonl --retrain          # an alarm starts the main job

Exit code 0: no drift shown; 3: an alarm; 2: it could not be told, and why. With --retrain an alarm starts
flows.retrain, and what that ends with counts. Without drift at most 1 comparison in 20 alarms. See docs/drift.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from prefect import flow
from rich.markup import escape
from rich.table import Table

from factloop.corpora.own import read_incoming
from factloop.drift import LEVEL, TooFew
from tasks.console import console as terminal
from tasks.console import say
from tasks.drift import Compared, NoChampion, Verdict, documents, keep, measure, scores, tables
from tasks.evaluations import Refused
from tasks.failures import told
from tasks.profiles import Profile, load_profile
from tasks.server import prefect_api
from tasks.trained_on import Untraced

ALARM = 3
FIELDS = ("id", "document", "question", "table")


@flow(name="drift", flow_run_name="drift-{profile.name}", validate_parameters=False)
def drift(profile: Profile, compared: list[Compared]) -> tuple[Verdict, Path]:
    """Test what came in; returns the verdict and the path of its page."""
    verdict = measure(profile, compared)
    return verdict, keep(verdict)[1]


def gathered(options: argparse.Namespace, profile: Profile) -> list[Compared]:
    """What the person gave, read and checked, each with what the champion has to compare."""
    columns = {name: field for name in FIELDS if (field := getattr(options, name))}
    own = {name: {key: value for key, value in columns.items() if key in ("id", *fields)} for name, fields in
           (("documents", ("document",)), ("tables", ("question", "table")))}  # fmt: skip
    found = []
    if options.file:
        found.append(documents(profile, options.file, read_incoming(options.file, "summaries", own["documents"])))
    if options.tables:
        found.append(tables(profile, options.tables, read_incoming(options.tables, "tables", own["tables"])))
    if options.scores:
        found.append(scores(profile, options.scores))
    return found


def show(verdict: Verdict, path: Path) -> None:
    table = Table(title=f"Incoming for {escape(verdict.profile)}", title_justify="left", title_style="bold")
    for column in ("part", "incoming", "old", "p", "p (Holm)", "effect"):
        table.add_column(column)
    for part in verdict.parts:
        adjusted = verdict.adjusted[part.name]
        table.add_row(part.name, str(part.incoming), str(part.old), f"{part.p:.2g}", f"{adjusted:.2g}", escape(part.told))
    terminal.print(table)
    for kind, why in verdict.untested.items():
        say(f"{kind}: {escape(why)}")
    for note in verdict.notes:
        say(escape(note))
    for kind, found in verdict.found.items():
        words = [f"{word.word} {word.incoming:.0%} (before {word.old:.0%})" for word in found.words[:5] if word.incoming > word.old]
        if words and any(verdict.adjusted[part.name] <= LEVEL for part in found.parts):
            say(f"{kind}: more often than before {escape(', '.join(words))}")
    say(f"[bold]{'DRIFT' if verdict.alarm else 'no drift shown'}[/bold]  (the least corrected p is {min(verdict.adjusted.values()):.2g})")
    say(f"page    {escape(str(path))}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="incoming documents: JSONL or CSV, UTF-8, gzipped or not")
    parser.add_argument("--profile", default="world", help="whose champion, a file in configs/ (default: world)")
    parser.add_argument("--tables", type=Path, metavar="FILE", help="incoming tables, with questions or without: JSONL or CSV")
    parser.add_argument("--scores", metavar="RUN_OR_CSV", help="judge scores of recent outputs: a run of flows.evaluate, or its table")
    parser.add_argument("--retrain", action="store_true", help="where there is an alarm, start flows.retrain")
    for name in FIELDS:
        parser.add_argument(f"--{name}", metavar="FIELD", help=f"your field for the {name}, if not {name!r}")
    options = parser.parse_args(arguments)
    if not (options.file or options.tables or options.scores):
        parser.error("nothing to compare: a file of documents, --tables or --scores")
    with told("drift", NoChampion, Untraced, Refused, TooFew, FileNotFoundError, IsADirectoryError):
        profile = load_profile(options.profile)
        compared = gathered(options, profile)
        with prefect_api():
            verdict, path = drift(profile, compared)
        show(verdict, path)
    if verdict.alarm and options.retrain:
        from flows import retrain

        return retrain.main(["--profile", profile.name])
    return ALARM if verdict.alarm else 0


if __name__ == "__main__":
    sys.exit(main())
