"""What each of several processes does in test_processes.py: one training of a tiny model, its weights left in a file."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from factloop.judges.qagen import train_qagen
from factloop.settings import TrainingSettings
from factloop.training.processes import rank
from tests.test_training import TEXTS, Quiet, tiny


def trained(folder: Path, parts: int = 2) -> list[dict[str, float]]:
    """The curve. QAGen, since what it learns of a passage is drawn by chance."""
    torch.set_num_threads(1)
    settings = TrainingSettings(steps=10, batch_size=7, learning_rate=1e-3, warmup=2, checkpoint_every=3, muon=0.01, parts=parts)
    questions = [[{"question": f"Who wrote {n} and {m}?", "answer": "Mara"} for m in range(6)] for n in range(len(TEXTS))]
    passages = [{"passage": text, "questions": asked} for text, asked in zip(TEXTS, questions, strict=True)]
    model = tiny()
    curve = train_qagen(model, passages, settings, 1, folder / "checkpoints", Quiet())
    if rank() == 0:
        save_file({name: value.detach() for name, value in model.model.named_parameters()}, folder / "weights")
    return curve


if __name__ == "__main__":
    trained(Path(sys.argv[1]), int(sys.argv[2]))
