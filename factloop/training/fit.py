"""The training loop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..faults import kill_point
from ..hardware import multiplies_bf16
from ..settings import TrainingSettings
from .checkpoints import load_checkpoint, save_checkpoint
from .grace import asked_to_end
from .muon import Muon
from .processes import add_up, count, join, rank, say, wait

Example = TypeVar("Example")
Loss = Callable[[list[Example]], dict[str, Tensor]]
"""A batch of examples to named scalars, of which `loss` is minimised."""
Lengths = Sequence[int] | Sequence[tuple[int, int]]
"""Of each example, what sorts it among those of like size."""


class TrainingDiverged(RuntimeError):
    """Training went wrong in a way that more steps would not mend."""


class CannotTrain(ValueError):
    """A training that its examples or settings do not allow; the message says what to change."""


class Progress(Protocol):
    """Where a step of the pipeline reports to while it runs."""

    name: str

    def log(self, metrics: dict[str, float], step: int) -> None: ...


def likelihood(logits: Tensor, target: Tensor, pad: int, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over the target tokens that are not padding, in nats."""
    return nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), target.flatten().masked_fill(target.flatten() == pad, -100), label_smoothing=smoothing
    )


def batches(lengths: Lengths, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Endless batches of indices, by epochs, of similar length to spare padding.

    Examples are shuffled, sorted by length within stretches of 32 batches, cut, and the
    batches shuffled again. The order depends on the seed and the epoch alone.
    """
    if not lengths:
        raise CannotTrain("there is not one example to train on")
    epoch = 0
    while True:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(lengths), generator=generator).tolist()
        stretch = batch_size * 32
        cut: list[list[int]] = []
        for start in range(0, len(order), stretch):
            part = sorted(order[start : start + stretch], key=lambda index: lengths[index])
            cut += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
        for index in torch.randperm(len(cut), generator=generator).tolist():
            yield cut[index]
        epoch += 1


def log_every(steps: int) -> int:
    """Steps that an entry of a training's curve is the mean of."""
    return max(1, min(50, steps // 10))


def make_optimizers(model: nn.Module, settings: TrainingSettings, bf16: bool) -> list[torch.optim.Optimizer]:
    """AdamW; or Muon for the matrices within layers and AdamW for embeddings, vectors and the head."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if settings.muon and p.ndim == 2 and "embed" not in name and "shared" not in name]
    chosen = set(map(id, matrices))
    rest = [p for _, p in named if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=settings.learning_rate, weight_decay=0.01, fused=True)]
    if matrices:
        optimizers.append(Muon(matrices, lr=settings.muon, weight_decay=0.01, bf16=bf16))
    return optimizers


def _tensors(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Everything that the next step depends on, by flat names, tied weights once."""
    tensors: dict[str, Tensor] = {f"model.{name}": parameter for name, parameter in model.named_parameters()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{name}": value for name, value in state.items()}
    return tensors


def _restore(model: nn.Module, optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"optimizer.{number}."):
                _, _, index, name = key.split(".")
                state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _learn(
    model: nn.Module, loss: Loss[Example], batch: list[Example], settings: TrainingSettings, seed: tuple[int, int], bf16: bool
) -> dict[str, float]:
    """Leave the gradients of a batch, of whose parts each process takes its own; returns the mean of each value over the batch.

    What a part draws depends on `seed` (of the training, and the step) and its number alone: not on who takes it, nor on what was
    drawn before a checkpoint.
    """
    device = next(model.parameters()).device.type
    means: dict[str, Tensor] = {}
    model.zero_grad(set_to_none=True)
    for number in range(rank(), settings.parts, count()):
        part = batch[number :: settings.parts]
        if not part and means:
            continue
        torch.manual_seed((seed[0] * 1_000_003 + seed[1]) * 1009 + number)
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            values = loss(part or batch[:1])  # of weight 0, where there is none for this process: all must have the same values
        share = len(part) / len(batch)
        (share * values["loss"]).backward()
        for name, value in values.items():
            means[name] = means.get(name, torch.zeros(())) + share * value.detach().float()
    if count() > 1:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        add_up([*(parameter.grad for parameter in model.parameters() if parameter.grad is not None), *means.values()])
    return {name: float(value) for name, value in means.items()}


def fit(
    model: nn.Module,
    loss: Loss[Example],
    examples: Sequence[Example],
    lengths: Lengths,
    settings: TrainingSettings,
    seed: int,
    checkpoints: Path,
    progress: Progress,
    watch: Callable[[list[dict[str, float]]], None] = lambda curve: None,
) -> list[dict[str, float]]:
    """Train `model` and return its curve, one entry per logged stretch of steps.

    A newest complete checkpoint under `checkpoints` is gone on from, with the same result, bit for bit
    on a CPU, as without the interruption. `watch` sees the curve at each entry, all of it after an interruption
    too, and may raise `TrainingDiverged`. The learning rate warms up while it falls linearly to `final_rate`. Of
    several processes (`processes.py`) each calls this with the same arguments; the first writes checkpoints and reports.
    """
    settings = settings.over(len(examples))
    if settings.parts % count():
        raise CannotTrain(f"{count()} processes share a batch's parts, and parts is {settings.parts}: set it to a multiple")
    join(next(model.parameters()).device.type)
    # Even on a CPU the gradient of `states[index]` else adds up in the order in which threads come by.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    bf16 = settings.bf16 and multiplies_bf16(next(model.parameters()).device.type)
    optimizers = make_optimizers(model, settings, bf16)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    every = log_every(settings.steps)
    curve: list[dict[str, float]] = []
    sums: dict[str, float] = {}
    first = 0
    found = load_checkpoint(checkpoints)
    if found:
        first, tensors, facts = found
        _restore(model, optimizers, tensors)
        curve, sums = facts["curve"], facts["sums"]
        say(f"{progress.name}: goes on from step {first} of {settings.steps}")
    stream = batches(lengths, settings.batch_size, seed)
    for _ in range(first):
        next(stream)
    model.train()
    if settings.bf16 > bf16:
        say(f"{progress.name}: in float32, since this processor has no instructions for bfloat16")
    bar = tqdm(total=settings.steps, initial=first, desc=progress.name, mininterval=5, unit="step", disable=rank() > 0)
    started = time.perf_counter()
    with asked_to_end() as asked:
        for step in range(first + 1, settings.steps + 1):
            warm = min(1.0, step / max(1, settings.warmup))
            fall = 1 - (1 - settings.final_rate) * step / settings.steps
            groups = [group for optimizer in optimizers for group in optimizer.param_groups]
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * warm * fall
            batch = next(stream)
            for name, value in _learn(model, loss, [examples[index] for index in batch], settings, (seed, step), bf16).items():
                sums[name] = sums.get(name, 0.0) + value
            if not math.isfinite(sums["loss"]):
                raise TrainingDiverged(
                    f"{progress.name}: the loss is {sums['loss']} at step {step} of {settings.steps}; "
                    f"lower the learning rate ({settings.learning_rate})"
                )
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            sums["gradient_norm"] = sums.get("gradient_norm", 0.0) + float(norm)
            for optimizer in optimizers:
                optimizer.step()
            bar.update()
            if step % every == 0 or step == settings.steps:
                since = (step - 1) % every + 1
                means = {name: total / since for name, total in sums.items()}
                curve.append({"step": step, **means})
                sums = {}
                bar.set_postfix(loss=f"{means['loss']:.3f}")
                watch(curve)
                progress.log(means, step)
            add_up([ends := torch.tensor(float(asked()))])
            if step < settings.steps and (ends or step % settings.checkpoint_every == 0):
                if rank() == 0:
                    save_checkpoint(checkpoints, step, _tensors(model, optimizers), {"curve": curve, "sums": sums})
                wait()
            if ends and step < settings.steps:
                say(f"{progress.name}: asked to end; kept as it is after step {step} of {settings.steps}")
                raise SystemExit(128 + signal.SIGTERM)
            kill_point("training:step", f"{progress.name}:{step}")
    bar.close()
    model.eval()
    progress.log({"steps_per_second": (settings.steps - first) / max(1e-9, time.perf_counter() - started)}, settings.steps)
    return curve
