"""How long a step of Muon takes, against PyTorch's own, for the matrices of the world's QAGen.

    python -m benchmarks.muon

The two take turns, on one thread. Written to `benchmarks/results/muon.json`.
"""

from __future__ import annotations

import json
import os
import statistics
import time

import torch

from benchmarks.run import ROOT, commit_of, processor
from factloop.hardware import multiplies_bf16
from factloop.training.muon import Muon

WIDTH = 96
# Two layers on each side: four attention matrices, in the decoder eight, and two of the feed-forward.
SHAPES = [(WIDTH, WIDTH)] * 24 + [(4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH)] * 4
ROUNDS = 21


def main() -> None:
    torch.set_num_threads(1)
    kinds = {"torch.optim.Muon": torch.optim.Muon, "factloop.training.muon.Muon": Muon}
    parameters = {name: [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES] for name in kinds}
    optimizers = {name: kind(parameters[name], lr=0.01) for name, kind in kinds.items()}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, optimizer in optimizers.items():
            for parameter in parameters[name]:
                parameter.grad = torch.randn_like(parameter)
            started = time.perf_counter()
            optimizer.step()
            seconds[name].append(time.perf_counter() - started)
    theirs, ours = seconds.values()
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)][1:]  # the first step warms up
    result = {
        "command": "python -m benchmarks.muon",
        "commit": commit_of(ROOT),
        "machine": f"{os.cpu_count()} cores, {processor()}, one thread, {torch.backends.cpu.get_cpu_capability()}",
        "bfloat16 in hardware": multiplies_bf16("cpu"),
        "milliseconds a step": {name: round(1000 * statistics.median(found[1:]), 1) for name, found in seconds.items()},
        "times as fast": {"median": round(statistics.median(ratios), 1), "least": round(min(ratios), 1), "most": round(max(ratios), 1)},
    }
    (ROOT / "benchmarks" / "results" / "muon.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
