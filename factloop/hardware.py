"""What a machine computes fast, told without loading torch, since run keys ask for it."""

from __future__ import annotations

import functools
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86, x86, ARM; as Linux names them


def cpuinfo(*labels: str) -> str:
    """What Linux says of the first processor under one of these labels; empty where it says nothing."""
    listed = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else ""
    parts = (line.partition(":") for line in listed.splitlines())
    return next((value.strip() for label, _, value in parts if label.strip().lower() in labels), "")


@functools.cache
def multiplies_bf16(device: str) -> bool:
    """Whether matrix products in bfloat16 are made in hardware: on a GPU (Ampere or newer), or a CPU with instructions for it.

    Another CPU emulates them at a tenth of the speed of float32.
    """
    return not device.startswith("cpu") or bool(BF16_FLAGS & set(cpuinfo("flags", "features").split()))
