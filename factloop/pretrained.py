"""Where pretrained weights are, without loading anything."""

from __future__ import annotations

import importlib.util
from pathlib import Path


class CheckpointMissing(ValueError):
    """Pretrained weights that are neither here nor to be had."""


def locate(checkpoint: str) -> str:
    """A folder, a hub name, or `package:<module>/<folder>` for weights that came with pip."""
    if not checkpoint.startswith("package:"):
        return checkpoint
    module, _, inside = checkpoint.removeprefix("package:").partition("/")
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise CheckpointMissing(
            f"the weights come with the pip package {module.replace('_', '-')}, which is not installed: "
            f"run `make retrain PROFILE=<profile>`, which installs it, or set base.start.checkpoint to a folder or hub name"
        )
    return str(Path(found.origin).parent / inside)
