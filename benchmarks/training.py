"""What the training loop costs beside forward and backward, and how much of its batches is padding.

    python -m benchmarks.training                                                   # the world's summariser, on a CPU
    python -m benchmarks.training --device cuda --shape bart-large --bf16           # at the size of facebook/bart-large

The summariser trains on the same batches in two ways that take turns, from the same weights with the same optimiser: by
`factloop.training.fit`, which makes batches, warms up, clips, watches the loss, writes a checkpoint and logs its curve to an
MLflow store; and by a bare loop of PyTorch over padded tensors that lie ready, which does none of it but the clipping and the
rate. Both logging and checkpoints come oftener than in a training of full length. Both end with the same weights, which is
checked on a CPU. The share of `fit` that is not forward, backward, clipping and optimiser is 1 less the ratio of the two times,
by the clock and of the cores; and on a CPU, where a call ends when its work does, what of the time of `fit` is spent outside those
calls: other work on the machine changes that least, for it slows both.

Weights are random and the texts are the world's: their length, and not what they say, decides. For `bart-large` each is several
summaries long. FLOP/s count forward and backward of the padded batches, by PyTorch's counter. Written to
`benchmarks/results/training.json`, or `training-bart-large.json`.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import mlflow
from benchmarks.run import ROOT, commit_of, processor
from factloop.base import from_scratch
from factloop.contrast.train import Edit, assembled
from factloop.seq2seq import Seq2Seq
from factloop.settings import ContrastSettings, Network, TrainingSettings, Window
from factloop.training import likelihood
from factloop.training.fit import batches, make_optimizers
from factloop.training.pairs import Pair, size, train_pairs
from factloop.world.errors import ERROR_TYPES, plant
from factloop.world.generate import Fact, Noise, documents
from factloop.world.vocabulary import make_world
from tasks.progress import RunProgress


@dataclass(frozen=True)
class Shape:
    network: Network
    window: Window
    joined: int
    """World documents that make one."""
    batch: int
    rate: float


SHAPES = {
    "world": Shape(Network(96, 2, 2, 4, 1600), Window(160, 160), 1, 32, 1e-3),
    # 12 and 12 layers of width 1024; its vocabulary is set below, for the world has not so many words.
    "bart-large": Shape(Network(1024, 12, 12, 16, 1600), Window(1024, 128), 6, 16, 3e-5),
}
VOCABULARY = 50265  # of facebook/bart-large
# Dense bfloat16 of the data sheets, FLOP/s, by a word of the device's name.
PEAKS = {"H200": 989.5e12, "H100": 989.5e12, "A100": 312e12}
PASSES = 3  # over the examples, as of profile world's 1800 steps
MOST_SHARE, MOST_PADDING = 0.1, 0.1  # asked: at most


def examples(shape: Shape, count: int) -> tuple[list[Pair], list[Pair], list[Edit]]:
    """Documents with references; with references into which an error is planted; and edits, from wrong to right."""
    world, drawn = make_world(1), random.Random(0)
    rows = list(documents(world, 1, count * shape.joined, Noise(0.4, 0.6, 0.85)))
    right, wrong, edits = list[Pair](), list[Pair](), list[Edit]()
    for start in range(0, len(rows), shape.joined):
        group = rows[start : start + shape.joined]
        document, summary = (" ".join(row[name] for row in group) for name in ("document", "summary"))
        right.append(([document], [summary]))
        facts = [[Fact(**fact) for fact in group[0][name]] for name in ("summary_facts", "facts")]
        planted = plant(group[0]["summary"], facts[0], facts[1], drawn.choice(ERROR_TYPES), world, drawn)
        if planted:
            other = " ".join([planted, *(row["summary"] for row in group[1:])])
            wrong.append(([document], [other]))
            edits.append(([document], [summary], [other]))
    return right, wrong, edits


def new_model(shape: Shape, name: str, pairs: list[Pair], device: str) -> Seq2Seq:
    made = from_scratch([" ".join([*source, *target]) for source, target in pairs], shape.network, shape.window, 0)
    if name == "bart-large":
        made.model.resize_token_embeddings(VOCABULARY)
    made.model.to(device)
    return made


def padding(batched: list[list[tuple[list[int], list[int]]]]) -> float:
    """The share of the tokens of padded batches, sources and targets, that is padding."""
    filled = sum(len(side) for batch in batched for pair in batch for side in pair)
    return 1 - filled / sum(len(batch) * max(len(pair[side]) for pair in batch) for batch in batched for side in (0, 1))


def contrast_padding(model: Seq2Seq, shape: Shape, parts: Any, steps: int) -> dict[str, float]:
    """By term of the contrastive loss, of as many batches as are trained on."""
    settings = ContrastSettings(TrainingSettings(steps, shape.batch, 1e-4), 1.0, 1.0, negative_weight=1.0, edit_weight=1.0)
    positives, negatives, edits = parts
    found = assembled(model, positives, negatives, edits, settings)
    sizes = [size(*positive) for positive, _, _ in found]
    cut = [[found[index] for index in batch] for batch in islice(batches(sizes, shape.batch, 0), steps)]
    return {
        "S+": padding([[positive for positive, _, _ in batch] for batch in cut]),
        "S-": padding([[negative for _, negative, _ in batch if negative] for batch in cut]),
        "edits": padding([[(edit.source, edit.target) for _, _, edit in batch if edit] for batch in cut]),
    }


def bare(model: Seq2Seq, ready: list[tuple[torch.Tensor, torch.Tensor]], settings: TrainingSettings) -> None:
    """The least that trains the same."""
    (optimizer,) = make_optimizers(model.model, settings, settings.bf16)
    model.model.train()
    for step, (source, target) in enumerate(ready, 1):
        rate = min(1.0, step / max(1, settings.warmup)) * (1 - (1 - settings.final_rate) * step / settings.steps)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(source.device.type, torch.bfloat16, enabled=settings.bf16):
            loss = likelihood(model.logits(source, target), target, model.pad)
        loss.backward()
        nn.utils.clip_grad_norm_(model.model.parameters(), settings.clip)
        optimizer.step()


WORK = ("forward", "backward", "clipping", "optimiser")


@contextmanager
def clocked(model: Seq2Seq) -> Iterator[dict[str, float]]:
    """By part of a training, the seconds that it spends there."""
    spent: dict[str, float] = {}

    def timing(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - started

        return call

    calls = (
        (model.model, "forward", "forward"), (sys.modules["factloop.training.pairs"], "likelihood", "forward"), (torch.Tensor, "backward", "backward"), (nn.utils, "clip_grad_norm_", "clipping"),
        (torch.optim.AdamW, "step", "optimiser"), (Seq2Seq, "ids", "tokenizer"), (Seq2Seq, "pad_batch", "padding"),
        (RunProgress, "log", "logging"), (sys.modules["factloop.training.fit"], "save_checkpoint", "checkpoints"),
    )  # fmt: skip
    with ExitStack() as patches:
        for owner, attribute, name in calls:
            patches.enter_context(patch.object(owner, attribute, timing(name, getattr(owner, attribute))))
        yield spent


def timed(train: Callable[[], object], device: str) -> tuple[float, float]:
    """Seconds by the clock and of the cores."""
    started, busy = time.perf_counter(), time.process_time()
    train()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started, time.process_time() - busy


def middle(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 4), "least": round(min(values), 4), "most": round(max(values), 4)}


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    shape = SHAPES[options.shape]
    parts = examples(shape, options.steps * shape.batch // PASSES)
    start = new_model(shape, options.shape, parts[0], options.device)
    settings = TrainingSettings(
        options.steps, shape.batch, shape.rate, warmup=10, checkpoint_every=max(1, options.steps // 2), bf16=options.bf16
    )
    sources, targets = start.sources([source for source, _ in parts[0]]), start.targets([target for _, target in parts[0]])
    coded = list(zip(sources, targets, strict=True))
    order = islice(batches([size(*pair) for pair in coded], shape.batch, 0), options.steps)
    cut = [[coded[index] for index in batch] for batch in order]
    ready = [(start.pad_batch([source for source, _ in batch]), start.pad_batch([target for _, target in batch])) for batch in cut]
    tokens = sum(len(side) for batch in cut for pair in batch for side in pair)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("training", artifact_location=(scratch / "artifacts").as_uri())

    def by_fit(number: int) -> Seq2Seq:
        model = copy.deepcopy(start)
        (scratch / str(number)).mkdir()
        progress = RunProgress("by fit", client, client.create_run(experiment).info.run_id, scratch / str(number) / "curve.jsonl")
        with clocked(model) as spent:
            took = timed(lambda: train_pairs(model, parts[0], settings, 0, scratch / str(number), progress), options.device)
        seconds["fit"].append(took)
        inside.append({name: value / took[0] for name, value in spent.items()})
        return model

    def by_hand(number: int) -> Seq2Seq:
        model = copy.deepcopy(start)
        seconds["bare"].append(timed(lambda: bare(model, ready, settings), options.device))
        return model

    with FlopCounterMode(display=False) as counter:  # and it warms up
        bare(copy.deepcopy(start), ready, settings)
    flops = counter.get_total_flops()
    apart = 0.0
    seconds: dict[str, list[tuple[float, float]]] = {"fit": [], "bare": []}
    inside: list[dict[str, float]] = []
    if options.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    for number in range(options.rounds):
        ways = [by_fit, by_hand] if number % 2 else [by_hand, by_fit]
        one, other = (way(number) for way in ways)
        sides = zip(one.model.parameters(), other.model.parameters(), strict=True)
        apart = max(apart, *(float((left - right).detach().abs().max()) for left, right in sides))
    if options.device == "cpu" and apart > 1e-6:
        raise SystemExit(f"the two loops do not train the same: weights differ by {apart}")
    shares = [[1 - hand[kind] / ours[kind] for hand, ours in zip(seconds["bare"], seconds["fit"], strict=True)] for kind in (0, 1)]
    fastest = {name: min(clock for clock, _ in found) for name, found in seconds.items()}
    on_cpu = options.device == "cpu"
    result = {
        "share of fit that is not forward, backward, clipping and optimiser": {
            **({"outside their calls": middle([1 - sum(one[name] for name in WORK) for one in inside])} if on_cpu else {}),
            "against the bare loop, by the clock": middle(shares[0]),
            "against the bare loop, of the cores": middle(shares[1]),
        },
        "asked of that share, at most": MOST_SHARE,
        **({"of it": {name: middle([one[name] for one in inside]) for name in inside[0] if name not in WORK}} if on_cpu else {}),
        "largest difference of weights": apart,
        "tokens a second, without padding, at best": {name: round(tokens / clock) for name, clock in fastest.items()},
        "padding": {"likelihood": round(padding(cut), 4)}
        | {name: round(value, 4) for name, value in contrast_padding(start, shape, parts, options.steps).items()},
        "asked of padding, at most": MOST_PADDING,
        "FLOP/s at best": {name: float(f"{flops / clock:.4g}") for name, clock in fastest.items()},
    }
    if options.device.startswith("cuda"):
        peak = next((value for word, value in PEAKS.items() if word in torch.cuda.get_device_name()), None)
        result["peak memory, GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        if peak and options.bf16:
            result["share of the peak in bfloat16"] = {name: round(flops / clock / peak, 4) for name, clock in fastest.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", choices=list(SHAPES), default="world")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--steps", type=int, default=100, help="of each training (default: 100)")
    parser.add_argument("--rounds", type=int, default=5, help="in which both loops train once (default: 5)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)  # as `fit` does, for both
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as scratch:
        mlflow.set_tracking_uri(f"sqlite:///{scratch}/mlflow.db")
        measured = measure(options, Path(scratch))
    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else f"{processor()}, {options.threads} thread"
    result = {
        "command": " ".join(["python -m benchmarks.training", *sys.argv[1:]]),
        "commit": commit_of(ROOT),
        "machine": f"{os.cpu_count()} cores, {device}; load when it ended {os.getloadavg()[0]:.1f}",
        "trainings": f"{options.rounds} by each loop, {options.steps} steps of {SHAPES[options.shape].batch}, {options.shape}",
        **measured,
    }
    path = options.out / f"training{'' if options.shape == 'world' else f'-{options.shape}'}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
