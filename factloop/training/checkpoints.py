"""Checkpoints that are either complete or not there.

A checkpoint is a folder `step-<n>` of safetensors and JSON. It is written under another name,
synced, sealed by a manifest of digests written last, and renamed in one call; so a name
`step-<n>` whose digests hold is a whole checkpoint, whenever the process was killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ..faults import kill_point

MANIFEST = "COMPLETE.json"


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write `folder/step-<step>` and then drop the older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "unfinished"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, scratch / "state.safetensors")
    (scratch / "facts.json").write_text(json.dumps(facts))
    digests = {path.name: file_digest(path) for path in sorted(scratch.iterdir())}
    for name in digests:
        sync(scratch / name)
    kill_point("checkpoint:unsealed")
    (scratch / MANIFEST).write_text(json.dumps(digests))
    sync(scratch / MANIFEST)
    kill_point("checkpoint:sealed")
    final = folder / f"step-{step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    scratch.replace(final)
    sync(folder)
    kill_point("checkpoint:renamed")
    for older in folder.glob("step-*"):
        if older.name < final.name:
            shutil.rmtree(older)


def is_complete(checkpoint: Path) -> bool:
    try:
        digests = json.loads((checkpoint / MANIFEST).read_text())
        return all(file_digest(checkpoint / name) == digest for name, digest in digests.items())
    except (OSError, ValueError):
        return False


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
    """The newest complete checkpoint as (step, tensors, facts); None where there is none."""
    for checkpoint in sorted(folder.glob("step-*"), reverse=True):
        if is_complete(checkpoint):
            facts = json.loads((checkpoint / "facts.json").read_text())
            return int(checkpoint.name.split("-")[1]), load_file(checkpoint / "state.safetensors"), facts
    return None
