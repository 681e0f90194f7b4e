"""A step that trains three numbers, really and with checkpoints, for tests of what may befall a training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from factloop.settings import TrainingSettings
from factloop.training import Progress, fit

STEPS, LOGGED, KEPT = 30, 3, 4  # steps; a point of the curve and a checkpoint at every such step


def trains(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    weight = torch.nn.Parameter(torch.zeros(3))

    def loss(batch: list[float]) -> dict[str, torch.Tensor]:
        time.sleep(config.get("pause", 0.0))
        return {"loss": (weight - torch.randn(3) - batch[0]).square().sum()}

    settings = TrainingSettings(STEPS, 1, 0.1, checkpoint_every=KEPT)
    curve = fit(torch.nn.ParameterList([weight]), loss, [1.0, 2.0, 3.0], [1, 1, 1], settings, 0, checkpoints, progress)
    (out / "model").mkdir()
    save_file({"weight": weight.detach()}, out / "model" / "weights")
    return {"last": curve[-1]["loss"]}
