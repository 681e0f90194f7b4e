"""Several processes on one training, as `accelerate launch`, `torchrun` and `tasks/isolated.py` start them.

Each has the whole model and takes its share of a batch's parts; gradients are added up. So what is trained depends on
`TrainingSettings.parts` and not on how many processes there are, but for the order of sums.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, distributed


def rank() -> int:
    """This process's number among those of the training; 0, which alone writes and reports, where there is one."""
    return int(os.environ.get("RANK", 0))


def count() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def join(device: str) -> None:
    """Meet the other processes, by the address in the environment."""
    if count() > 1 and not distributed.is_initialized():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")


def add_up(tensors: Sequence[Tensor]) -> None:
    """Make each tensor the sum of all processes' own, in place and in one message."""
    if count() == 1:
        return
    flat = torch.cat([tensor.flatten().float() for tensor in tensors])
    distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def say(text: str) -> None:
    """Once, however many they are."""
    if rank() == 0:
        print(text, flush=True)


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        distributed.barrier()
