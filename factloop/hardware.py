"""What a machine computes fast, told without loading torch, since run keys ask for it."""

from __future__ import annotations

import functools
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86, x86, ARM; as Linux names them


@functools.cache
def multiplies_bf16(device: str) -> bool:
    """Whether matrix products in bfloat16 are made in hardware: on a GPU (Ampere or newer), or a CPU with instructions for it.

    Another CPU emulates them at a tenth of the speed of float32.
    """
    if not device.startswith("cpu"):
        return True
    listed = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else ""
    flags = next((line for line in listed.splitlines() if line.lower().startswith(("flags", "features"))), "")
    return bool(BF16_FLAGS & set(flags.split()))
