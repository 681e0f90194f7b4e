"""Steps that go well or badly, for test_isolated.py: a process of its own imports them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from factloop.settings import TrainingSettings
from factloop.training import Progress, TrainingDiverged, fit
from factloop.training.processes import count, rank


def goes(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Badly as `config` says: on the first attempt, which leaves a checkpoint, or on each."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    attempt = len(list(checkpoints.iterdir())) + 1
    (checkpoints / f"attempt-{attempt}").touch()
    (out / f"from-attempt-{attempt}").write_text(inputs["data"].read_text())
    progress.log({"loss": 1.0 / attempt}, attempt)
    if attempt <= config.get("killed", 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if attempt <= config.get("sleeps", 0):
        time.sleep(300)
    if config.get("diverges"):
        raise TrainingDiverged("the loss is nan at step 3 of 4")
    if config.get("broken"):
        raise KeyError("a defect")
    return {"attempt": attempt, "process": os.getpid(), "threads": torch.get_num_threads()}


def shared(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """A training of one number, which several processes may share; one of them may die."""
    weight = torch.nn.Parameter(torch.zeros(1))

    def loss(batch: list[float]) -> dict[str, torch.Tensor]:
        if config.get("dies") and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"loss": (weight - torch.tensor(batch) - 0.1 * torch.randn(len(batch))).square().mean()}

    settings = TrainingSettings(**config["training"])
    fit(torch.nn.ParameterList([weight]), loss, [1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1], settings, 0, checkpoints, progress)
    (out / f"of-{rank()}").touch()
    return {"weight": float(weight.detach()), "processes": count()}
