"""Who became champion when, from whom and why: kept as tags on model versions, and the way back.

Each move of the alias is an entry: a tag `champion.000001`, `champion.000002`, ... on the version that became
champion. It is written before the alias moves, and marked settled once whoever asked was told. So after a
kill the same move, asked for again, goes on from there, and a rollback never goes back twice for it; and an
entry that the alias never followed is told from the others by where the next one found the alias.
"""

from __future__ import annotations

import getpass
import json
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from factloop.faults import kill_point

from .memo import lease
from .serving import aliased

PREFIX = "champion."
LONGEST = 2000  # characters of a reason: MLflow cuts a tag at 5000


class Unmoved(ValueError):
    """The alias cannot go where it is asked to."""


@dataclass(frozen=True)
class Entry:
    """One move of the alias `champion`."""

    number: int
    version: str
    before: str | None
    how: str
    """`gate`, `by hand` or `rollback`."""
    why: str
    who: str
    when: str
    settled: bool = False


def entries(client: MlflowClient, registered: str) -> list[Entry]:
    """All moves in order; those that were begun and never made among them."""
    found = [
        Entry(**json.loads(value))
        for version in client.search_model_versions(f"name = '{registered}'", max_results=10_000)
        for name, value in version.tags.items()
        if name.startswith(PREFIX)
    ]
    return sorted(found, key=lambda entry: entry.number)


def reign(moves: list[Entry], champion: str | None) -> list[Entry]:
    """The moves that stand, oldest first: a rollback takes away itself and the one that it undid.

    A move was made where the next one found its version, or where the champion is it.
    """
    standing: list[Entry] = []
    after = [entry.before for entry in moves[1:]] + [champion]
    for entry, found in zip(moves, after, strict=True):
        if entry.version != found:
            continue
        standing = standing[:-1] if entry.how == "rollback" else [*standing, entry]
    return standing


def champion_of(client: MlflowClient, registered: str) -> str | None:
    found = aliased(client, registered, "champion")
    return str(found.version) if found else None


def user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        return "unknown"


def _write(client: MlflowClient, registered: str, entry: Entry) -> None:
    told = json.dumps(asdict(entry), ensure_ascii=False)
    client.set_model_version_tag(registered, entry.version, f"{PREFIX}{entry.number:06d}", told)


def crown(client: MlflowClient, registered: str, version: str, how: str, why: str) -> Entry:
    """Make a version champion: the entry first, then the alias. Asked again before `settle`, it is the same move."""
    with lease(f"champion-{registered}", wait=30):
        moves = entries(client, registered)
        last = moves[-1] if moves else None
        if last and not last.settled and (last.version, last.how) == (version, how):
            entry = replace(last, why=why or last.why)  # begun by a process that was killed
        else:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            entry = Entry(last.number + 1 if last else 1, version, champion_of(client, registered), how, why, user(), now)
        _write(client, registered, entry)
        kill_point("champion:told", f"{registered}:{how}")
        client.set_registered_model_alias(registered, "champion", version)
        kill_point("champion:moved", f"{registered}:{how}")
        return entry


def settle(client: MlflowClient, registered: str, entry: Entry) -> None:
    """Whoever asked for the move knows that it was made."""
    _write(client, registered, replace(entry, settled=True))
    kill_point("champion:settled", f"{registered}:{entry.how}")


def settle_made(client: MlflowClient, registered: str) -> None:
    """Settle the move to the present champion, if the process that made it was killed before it could."""
    moves = entries(client, registered)
    if moves and not moves[-1].settled and moves[-1].version == champion_of(client, registered):
        settle(client, registered, moves[-1])


def last_champion(client: MlflowClient, registered: str) -> tuple[str, Entry]:
    """The version that a rollback brings back, and the move that it undoes; Unmoved says why there is none."""
    now, moves = champion_of(client, registered), entries(client, registered)
    if now is None:
        raise Unmoved(f"{registered} has no champion")
    begun = moves[-1] if moves and moves[-1].how == "rollback" and not moves[-1].settled else None
    standing = reign([move for move in moves if move is not begun], begun.before if begun else now)
    if not standing or standing[-1].version != (begun.before if begun else now):
        raise Unmoved(
            f"{registered}: how version {now} became champion is not recorded, so there is no telling what was before;"
            " `--version N` says which to take"
        )
    undone = standing[-1]
    if undone.before is None:
        raise Unmoved(f"{registered}: version {now} is the first champion; there is none before it")
    return undone.before, undone


def version_of(client: MlflowClient, registered: str, version: str) -> Any:
    """A registered version; Unmoved if there is none."""
    try:
        return client.get_model_version(registered, version)
    except MlflowException:
        known = sorted(int(found.version) for found in client.search_model_versions(f"name = '{registered}'", max_results=10_000))
        listed = f"its versions are {', '.join(map(str, known))}" if known else "no such model is registered"
        raise Unmoved(f"{registered} has no version {version}; {listed}") from None
