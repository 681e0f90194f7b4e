"""The data of a profile, by `dvc repro`, and its version."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from prefect import task

from factloop.faults import kill_point

from .environment import ROOT, STATE
from .keys import digest, file_digest
from .memo import lease
from .profiles import MirrorData, Profile
from .stages import SHAPES, STAGES

LOCK = ROOT / "dvc.lock"
TARGET = "claims"  # the last stage, which needs all others
BEFORE = STATE / "dvc.lock.before"  # what LOCK was, while a `dvc` is at work


class DataFailed(RuntimeError):
    """A data stage failed; its own message has been printed."""


@dataclass(frozen=True)
class Data:
    version: str
    """SHA-256 over what DVC recorded of the profile's outs."""
    files: dict[str, tuple[str, str]]
    """Files of the split, and of claims, by name: path and SHA-256."""
    stages: dict[str, str]
    """What DVC did: stage name -> ran or unchanged."""
    counts: dict[str, int]
    """Rows by file of the split, and rows dropped by reason."""

    def __getitem__(self, name: str) -> tuple[str, str]:
        return self.files[name]


def _mend() -> None:
    """Undo what a `dvc` that was killed may have left: it writes `dvc.lock` and its own locks in place."""
    if BEFORE.exists():
        (ROOT / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
        BEFORE.replace(LOCK)


def _dvc(target: str) -> tuple[int, str]:
    """`dvc repro`: its exit status and what it said, downloads as they go.

    A copy of `dvc.lock` is kept until it has ended. It ends with this process, for its pipe breaks.
    """
    _mend()
    if LOCK.exists():
        scratch = BEFORE.with_suffix(".unfinished")
        shutil.copyfile(LOCK, scratch)
        scratch.replace(BEFORE)
    kill_point("data:begun")
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", target],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # The stages' `python` must be this one, whatever the caller's PATH.
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    said = []
    for line in process.stdout or ():
        if line.startswith("downloading "):
            print(line, end="", flush=True)
        else:
            said.append(line)
    status = process.wait()
    if status >= 0:  # it ended, well or not, and was not killed
        BEFORE.unlink(missing_ok=True)
    kill_point("data:reproduced")
    return status, "".join(said)


def outs_of(profile: str, lock: str) -> dict[str, list[dict[str, str]]]:
    """By stage the outs of a profile that the text of a dvc.lock records: path, md5, size."""
    stages = yaml.load(lock, yaml.CSafeLoader)["stages"]  # long, and read by every run
    return {name: stages[f"{name}@{profile}"]["outs"] for name in STAGES if f"{name}@{profile}" in stages}


def _recorded(profile: str) -> dict[str, list[dict[str, str]]]:
    return outs_of(profile, LOCK.read_text()) if LOCK.exists() else {}


def _md5(path: Path) -> str:
    """As DVC writes it: of a file, or of the list of a folder's files."""
    if path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def unlike(recorded: dict[str, list[dict[str, str]]], root: Path) -> list[Path]:
    """Outs that are not what is recorded; DVC itself goes by size and time, and misses a flipped bit."""
    outs = [out for stage in recorded.values() for out in stage]
    return [root / out["path"] for out in outs if _md5(root / out["path"]) != out["md5"]]


def _damaged(profile: str) -> list[Path]:
    return unlike(_recorded(profile), ROOT)


def drop(damaged: list[Path]) -> None:
    """Remove outs, and of this clone's cache every copy that is not what its name says: DVC would give it back, and push it."""
    # Copies first: while the out is damaged, the next run finds it after a kill, and comes by here again.
    for path in copies().glob("??/*"):
        if _md5(path) != (path.parent.name + path.name).removesuffix(".dir"):
            path.unlink()
            kill_point("copy:dropped")
    for path in damaged:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        kill_point("out:dropped", path.name)


def copies() -> Path:
    """Where this clone's DVC keeps its copies, by their MD5."""
    from dvc.config import Config

    return Path(str(Config(str(ROOT / ".dvc"))["cache"]["dir"])) / "files" / "md5"


@task(task_run_name="data")
def reproduce(profile: Profile) -> Data:
    """Bring the data up to date; never two `dvc` at once in one clone."""
    with lease("dvc", wait=600):
        status, said = _dvc(f"{TARGET}@{profile.name}")
        damaged = [] if status else _damaged(profile.name)
        if damaged:
            print(f"data: {', '.join(map(str, damaged))} changed since made; restored", flush=True)
            drop(damaged)
            status, said = _dvc(f"{TARGET}@{profile.name}")
            damaged = [] if status else _damaged(profile.name)
        if status:
            raise DataFailed(f"data of profile {profile.name}:\n{said[-9000:]}")
        if damaged:
            raise DataFailed(
                f"data of profile {profile.name}: {', '.join(map(str, damaged))} is not what dvc.lock records, nor is its copy in "
                f"{STATE / 'dvc-cache'}: delete that folder and {ROOT / 'data' / profile.name}, and start this again"
            )
    return read_data(profile, {name: "ran" if f"Running stage '{name}@{profile.name}'" in said else "unchanged" for name in STAGES})


def read_data(profile: Profile, stages: dict[str, str]) -> Data:
    """The data that lie here."""
    split = ROOT / "data" / profile.name / "split"
    paths = [*sorted(split.glob("*.jsonl")), split.with_name("claims") / "claims.jsonl"]
    files = {path.stem: (str(path), file_digest(path)) for path in paths}
    return Data(digest(_recorded(profile.name)), files, stages, json.loads((split / "counts.json").read_text()))


def describe(profile: Profile, data: Data) -> str:
    """What there is to train on, what was dropped and why, and what a licence keeps out."""
    counts = data.counts
    taken = ", ".join(f"{counts[name]:,} {name.replace('.', ' to ')}" for name in counts if name.endswith((".train", ".test")))
    lines = [f"[bold]data {data.version[:12]}[/bold]  {taken.replace('_', ' ')}"]
    dropped = {name.removeprefix("dropped."): count for name, count in counts.items() if name.startswith("dropped.") and count}
    if dropped:
        lines.append("dropped  " + ", ".join(f"{count:,} {name.replace('.', ': ').replace('_', ' ')}" for name, count in dropped.items()))
    aside = left_out(profile)
    if aside:
        lines.append(f"left out for their non-commercial licences: {', '.join(aside)} (data.source.non_commercial: true takes them)")
    return "\n".join(lines)


def left_out(profile: Profile) -> list[str]:
    source = profile.data.source
    if not isinstance(source, MirrorData) or source.non_commercial:
        return []
    declared = yaml.safe_load((ROOT / "data" / "sources.yaml").read_text(encoding="utf-8"))
    return [name for shape in SHAPES for name in getattr(source, shape) if declared[name].get("non_commercial")]
