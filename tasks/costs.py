"""What runs take of the machine: core and GPU hours, energy where it can be read, money by the profile's prices.

What a step took is on its run as the tag `spent`. A parent run has the sum of what was made for it as metrics
`cost/...`: what it took over from earlier runs costs it nothing.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from factloop.statistics import Estimate

from .gates import LIKENESS, limits
from .profiles import Prices, Profile
from .tracking import children

EVERY = 30.0  # seconds between two looks: what a killed process has spent is known but for the last of them
POWERCAP = Path("/sys/class/powercap")
MILLIJOULES, MICROJOULES = 3.6e9, 3.6e12  # in a kilowatt hour


@dataclass
class Counted:
    """Something that only grows, in hours or kilowatt hours, until it starts again from 0 at `wraps`."""

    name: str
    read: Callable[[], float]
    wraps: float = float("inf")
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.read()

    def more(self) -> float:
        """How much it grew since the last call that could read it."""
        try:
            now = self.read()
        except Exception:  # of a file or a driver: no reason to lose a training
            return 0.0
        grown, self.last = (now - self.last) % self.wraps, now
        return grown


def processor_energy(root: Path = POWERCAP) -> Iterator[Counted]:
    """Packages and memory of this machine, whoever uses them, where the kernel lets this user read them (most let root alone)."""
    for counter in sorted(root.glob("intel-rapl:*/energy_uj")):
        zone = (counter.parent / "name").read_text().strip()
        # A package's own zones are parts of it, but for its memory; `psys` is the whole board, the package included.
        if (zone.startswith("package") or zone == "dram") and os.access(counter, os.R_OK):
            most = float((counter.parent / "max_energy_range_uj").read_text())
            yield Counted("kilowatt_hours", lambda counter=counter: float(counter.read_text()) / MICROJOULES, most / MICROJOULES)  # type: ignore[misc]


def gpu_energy(gpus: Sequence[int]) -> Iterator[Counted]:
    """Whole GPUs, by torch's numbers for them; none where the driver does not tell."""
    import pynvml
    import torch

    read = pynvml.nvmlDeviceGetTotalEnergyConsumption
    try:
        pynvml.nvmlInit()
        for gpu in gpus:
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(gpu).uuid}")
            yield Counted("kilowatt_hours", lambda handle=handle: float(read(handle)) / MILLIJOULES)  # type: ignore[misc]
    except pynvml.NVMLError:
        return


class Meter:
    """Counts what this process and its children take while it is open, on top of what `kept` says that killed ones took before."""

    def __init__(self, kept: Path, device: str, processes: int = 1) -> None:
        self.kept = kept
        self.spent: dict[str, float] = json.loads(kept.read_text()) if kept.exists() else {}
        self.counted = [Counted("core_hours", lambda: sum(os.times()[:4]) / 3600), *processor_energy()]
        if device.startswith("cuda"):
            first = int(device.partition(":")[2] or 0)
            self.counted += [Counted("gpu_hours", lambda: processes * time.monotonic() / 3600)]
            self.counted += gpu_energy(range(first, first + processes))
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Meter:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        self._look()

    def _look_on(self) -> None:
        while not self.ended.wait(EVERY):
            self._look()

    def _look(self) -> None:
        for counted in self.counted:
            self.spent[counted.name] = self.spent.get(counted.name, 0.0) + counted.more()
        scratch = self.kept.with_suffix(".unfinished")
        with suppress(OSError):  # a full disk is told of by what must be written
            scratch.write_text(json.dumps(self.spent))
            scratch.replace(self.kept)


def costs(experiment: str, parent: str, prices: Prices) -> dict[str, float]:
    """Of all steps that were made for a parent run; `money` where a price is given for something that was spent."""
    total: Counter[str] = Counter()
    for run in children(MlflowClient(), experiment, parent):
        total.update(json.loads(run.data.tags.get("spent", "{}")))
    priced = {f"{name}s": price for name, price in prices.model_dump(exclude_none=True).items()}
    money = {"money": sum(total[name] * price for name, price in priced.items())} if total.keys() & priced.keys() else {}
    return {**total, **money}


def per_point(spent: Mapping[str, float], profile: Profile, differences: Mapping[str, Mapping[str, Estimate]]) -> dict[str, float]:
    """What one point of each gated model's `improve` cost, where it gained some over the champion.

    A point is 1 of a metric that goes to 100 and 0.01 of any other. `differences`: by model, candidate less champion.
    """
    found: dict[str, float] = {}
    for model, by_metric in differences.items():
        metric = limits(profile, model)["improve"]
        gained = by_metric[metric].value * (1 if metric in LIKENESS else 100) if metric in by_metric else 0.0
        if gained > 0:
            found |= {f"{name}_per_point/{model}": value / gained for name, value in spent.items()}
    return found


def log_costs(parent: str, found: Mapping[str, float]) -> None:
    MlflowClient().log_batch(parent, metrics=[Metric(f"cost/{name}", value, 0, 0) for name, value in found.items()])
