"""Move `champion` by hand, or back: with a reason, and a record of who did it when.

    python -m flows.promote world-summarizer                        # the challenger
    python -m flows.promote world-summarizer --version 5 --reason "read 50 outputs, no errors of number left"
    python -m flows.promote world-summarizer --rollback             # the last champion again
    python -m flows.promote world-summarizer --history              # who became champion when, and why

A version whose files are missing or damaged is refused. Asked again after a kill, it goes on where it was.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

from mlflow.tracking import MlflowClient
from rich.markup import escape

from tasks.console import say
from tasks.failures import told
from tasks.gates import GATED
from tasks.history import LONGEST, Entry, Unmoved, champion_of, crown, entries, last_champion, settle, version_of
from tasks.memo import recall_version
from tasks.parent import make_store
from tasks.serving import aliased


def promote(client: MlflowClient, registered: str, version: str | None, reason: str) -> None:
    """Make a version champion, by default the challenger."""
    wanted = version_of(client, registered, version) if version else aliased(client, registered, "challenger")
    if wanted is None:
        raise Unmoved(f"{registered} has no challenger; --version N says which version to take")
    number = str(wanted.version)
    moves = entries(client, registered)
    begun = moves and (moves[-1].version, moves[-1].how, moves[-1].settled) == (number, "by hand", False)
    if champion_of(client, registered) == number and not begun:
        say(f"[bold]{escape(registered)} version {number} is the champion already[/bold]: nothing done")
        return
    _usable(client, registered, wanted)
    entry = crown(client, registered, number, "by hand", reason)
    say(f"[bold]{escape(registered)}: champion is version {number}[/bold] (before: {entry.before or 'none'})")
    settle(client, registered, entry)


def rollback(client: MlflowClient, registered: str, reason: str) -> None:
    """Bring back the champion before this one."""
    version, undone = last_champion(client, registered)
    _usable(client, registered, version_of(client, registered, version))
    entry = crown(client, registered, version, "rollback", reason)
    say(f"[bold]{escape(registered)}: champion is version {version} again[/bold]; undone: {escape(line(undone))}")
    settle(client, registered, entry)


def _usable(client: MlflowClient, registered: str, version: Any) -> None:
    """Raise Damaged unless the files of a version are what was made."""
    step = client.get_run(version.run_id).data.tags.get("step", registered)
    recall_version(step, version, "restore its files, or take another with --version N")


def line(entry: Entry) -> str:
    return (
        f"version {entry.before or 'none'} -> {entry.version}, {entry.when}, {entry.how} of {entry.who}: {entry.why or 'no reason given'}"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help=f"a registered model with a gate: <profile>-{', <profile>-'.join(GATED)}")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--version", help="the version to promote (default: the challenger)")
    what.add_argument("--rollback", action="store_true", help="bring back the last champion")
    what.add_argument("--history", action="store_true", help="only show who became champion when, and why")
    parser.add_argument("--reason", default="", help="why; kept with the version")
    options = parser.parse_args(arguments)
    with told("promote", Unmoved):
        if not re.fullmatch(rf"[\w.-]+-({'|'.join(GATED)})", options.model):
            raise Unmoved(f"{options.model}: only models with a gate have a champion to move: <profile>-{', <profile>-'.join(GATED)}")
        if len(options.reason) > LONGEST:
            raise Unmoved(f"a reason of {len(options.reason)} characters; at most {LONGEST} are kept")
        make_store()
        client = MlflowClient()
        if options.history:
            for entry in entries(client, options.model):
                say(escape(line(entry)))
        elif options.rollback:
            rollback(client, options.model, options.reason)
        else:
            promote(client, options.model, options.version, options.reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
