"""What a step was computed on: two machines may round differently where code, data and libraries are the same."""

from __future__ import annotations

import platform

from factloop.hardware import cpuinfo


def machine() -> dict[str, str]:
    """Processor, architecture, C library (its exponentials and logarithms are used) and Python."""
    return {
        "processor": cpuinfo("model name") or platform.processor() or "unknown",
        "architecture": platform.machine(),
        "c library": " ".join(platform.libc_ver()).strip() or "unknown",
        "python": platform.python_version(),
    }


def hardware(device: str) -> dict[str, str]:
    """The machine, with the vector instructions that torch chooses kernels by, and the GPU where there is one."""
    import torch

    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}
    return machine() | {"instructions": torch.backends.cpu.get_cpu_capability()} | gpu
