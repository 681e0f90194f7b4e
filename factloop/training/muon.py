"""Muon (Jordan et al. 2024), as PyTorch has it, for machines of any kind."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter


class Muon(torch.optim.Muon):
    """PyTorch's Muon with the matrices orthogonalised all of one shape at once, and in bfloat16 only where `bf16` says so.

    PyTorch's own does it in bfloat16, one by one. A CPU without instructions for that takes many times as long
    (`python -m benchmarks.muon`).
    """

    def __init__(self, matrices: list[Parameter], lr: float, weight_decay: float = 0.1, bf16: bool = False) -> None:
        super().__init__(matrices, lr=lr, weight_decay=weight_decay)
        self._precision = torch.bfloat16 if bf16 else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for (rows, columns), alike in shapes.items():
                rate = group["lr"] * sqrt(max(1, rows / columns))
                moved = torch.stack([self._moved(parameter, group["momentum"]) for parameter in alike])
                updates = orthogonalised(moved, group, self._precision)
                for parameter, update in zip(alike, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)

    def _moved(self, parameter: Tensor, momentum: float) -> Tensor:
        """The gradient with Nesterov's momentum."""
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["momentum_buffer"], momentum)  # type: ignore[union-attr]


def orthogonalised(matrices: Tensor, group: dict[str, Any], precision: torch.dtype) -> Tensor:
    """[n, rows, columns], each with its singular values near 1, by Newton and Schulz's iteration with the group's constants."""
    a, b, c = group["ns_coefficients"]
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / x.norm(dim=(1, 2), keepdim=True).clamp(min=group["eps"])).to(precision)
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
