"""The data of a profile, by `dvc repro`, and its version."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from prefect import task

from .environment import ROOT
from .keys import digest, file_digest
from .memo import lease
from .profiles import Profile
from .stages import STAGES


class DataFailed(RuntimeError):
    """A data stage failed; its own message has been printed."""


@dataclass(frozen=True)
class Data:
    version: str
    """SHA-256 over what DVC recorded of the profile's outs."""
    files: dict[str, tuple[str, str]]
    """Files of the split by name: path and SHA-256."""
    stages: dict[str, str]
    """What DVC did: stage name -> ran or unchanged."""

    def __getitem__(self, name: str) -> tuple[str, str]:
        return self.files[name]


def _recorded(profile: str) -> dict[str, object]:
    lock = ROOT / "dvc.lock"
    stages = yaml.safe_load(lock.read_text())["stages"] if lock.exists() else {}
    return {name: stages[f"{name}@{profile}"]["outs"] for name in STAGES if f"{name}@{profile}" in stages}


@task(task_run_name="data")
def reproduce(profile: Profile) -> Data:
    """Bring the data up to date; never two `dvc` at once in one clone."""
    with lease("dvc", wait=600):
        result = subprocess.run(
            [sys.executable, "-m", "dvc", "repro", f"split@{profile.name}"],
            cwd=ROOT, capture_output=True, text=True, check=False,
            # The stages' `python` must be this one, whatever the caller's PATH.
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        )  # fmt: skip
    if result.returncode:
        raise DataFailed(f"data of profile {profile.name}:\n{result.stdout[-3000:]}{result.stderr[-6000:]}")
    recorded = _recorded(profile.name)
    split = ROOT / "data" / profile.name / "split"
    files = {path.stem: (str(path), file_digest(path)) for path in sorted(split.glob("*.jsonl"))}
    ran = {name: f"Running stage '{name}@{profile.name}'" in result.stdout for name in STAGES}
    return Data(digest(recorded), files, {name: "ran" if did else "unchanged" for name, did in ran.items()})
