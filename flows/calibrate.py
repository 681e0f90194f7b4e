"""How far can the judges of a profile be trusted? Their scores against labels, as a card.

    python -m flows.calibrate --profile world               # against errors planted in the world
    DATA_MIRROR=~/mirror python -m flows.calibrate --profile news    # against what people said
    python -m flows.calibrate --profile news --labelled mine.jsonl   # document, summary, label (0 to 1); system, edit_types if known
    python -m flows.calibrate --profile news --labelled mturk_xsum.jsonl podcast.json --reader qags summedits

The card is an artifact of the run and of each judge's model version, and `retrain` shows its gist.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from factloop.corpora.formats import FORMATS
from factloop.corpora.readers import read
from factloop.corpora.rows import write_rows
from factloop.faults import kill_point
from tasks import parent
from tasks.calibrate import against_baseline, agree, columns, labelled_data, rows_of, write_card
from tasks.console import console as terminal
from tasks.console import say
from tasks.data import reproduce
from tasks.environment import STATE
from tasks.evidence import TRACED, trace_examples
from tasks.failures import told
from tasks.judges import examine, gate_judges, with_judges
from tasks.keys import file_digest
from tasks.memo import Done
from tasks.profiles import Profile, ProfileError, WorldData, load_profile
from tasks.server import prefect_api


def own_labels(paths: Sequence[Path], readers: list[str]) -> tuple[str, str]:
    """A person's judged summaries as an input, each file a source: every row is read before any is judged."""
    if len(readers) not in (1, len(paths)) or set(readers) - {"labelled", "qags", "summedits"}:
        raise ProfileError(f"--reader {' '.join(readers)}: labelled, qags or summedits, one for all files or one for each")
    names = [path.name.partition(".")[0] for path in paths]
    if len(set(names)) < len(names):
        raise ProfileError(f"--labelled {' '.join(map(str, paths))}: each file is a source of its own, so each needs a name of its own")
    files = zip(names, paths, readers * (len(paths) // len(readers)), strict=True)
    rows = [row | {"source": name} for name, path, reader in files for row in read(path, FORMATS[reader])]
    scratch = STATE / "own" / f"labels-{paths[0].name}"
    write_rows(scratch, rows)
    digest = file_digest(scratch)
    kept = scratch.replace(scratch.with_name(f"{digest}.jsonl"))
    kill_point("labels:kept")
    return str(kept), digest


@flow(name="calibrate", flow_run_name="calibrate-{profile.name}", validate_parameters=False)
def calibrate(profile: Profile, labelled: tuple[str, str] | None = None, traces: int = TRACED) -> tuple[Done, Path]:
    """Measure the gate judges and write their card; returns what was measured and the card's path."""
    judges = gate_judges(profile)
    data = reproduce(profile)
    planted = labelled is None and isinstance(profile.data.source, WorldData)
    labelled = None if planted else labelled or labelled_data(profile)
    with parent.parent_run(profile, data, "calibrate") as context:
        context = with_judges(context, judges)
        measured = agree(context, profile, labelled, judges) if labelled else examine(context, profile, data, judges, "gate")
        trace_examples(measured, traces)
        return measured, write_card(profile, measured, judges)


def show(measured: Done, card: Path) -> None:
    from rich.table import Table

    for source, scores in rows_of(measured.metrics).items():
        kinds = columns(scores)
        table = Table(title=source, title_justify="left", title_style="bold")
        for name in ("score", *kinds):
            table.add_column(name.replace("_", " "))
        for name, found in scores.items():
            table.add_row(name, *(found.get(kind, "") for kind in kinds))
        terminal.print(table)
        for name in scores:
            if (told := against_baseline(measured.metrics, name, source)).startswith("nothing"):
                say(f"{name}: {told}")
    say(f"card    {card}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="world", help="whose judges (default: world)")
    parser.add_argument("--labelled", type=Path, nargs="+", metavar="FILE", help="judged summaries of yours, in place of the profile's")
    parser.add_argument(
        "--reader", nargs="+", default=["labelled"], help="format of all files or of each: labelled (default), qags, summedits"
    )
    parser.add_argument("--traces", type=int, default=TRACED, metavar="N", help="examples to trace in MLflow, worst first (default: 20)")
    options = parser.parse_args(arguments)
    with told("calibrate", FileNotFoundError, IsADirectoryError):
        labelled = own_labels(options.labelled, options.reader) if options.labelled else None
        with prefect_api():
            show(*calibrate(load_profile(options.profile), labelled, options.traces))
    return 0


if __name__ == "__main__":
    sys.exit(main())
