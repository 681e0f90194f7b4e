"""What runs take of the machine, and what that costs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mlflow.tracking import MlflowClient

from factloop.statistics import Estimate
from tasks.costs import Meter, costs, log_costs, per_point, processor_energy
from tasks.profiles import Prices, load_profile

pytestmark = pytest.mark.unit


def busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_what_a_killed_process_had_spent_is_counted_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.costs.EVERY", 0.05)
    kept = tmp_path / "spent.json"
    with Meter(kept, "cpu"):
        busy(0.3)
        while_open = json.loads(kept.read_text())  # all that a kill would leave
    assert 0.1 / 3600 < while_open["core_hours"] <= json.loads(kept.read_text())["core_hours"]
    with Meter(kept, "cpu") as second:
        busy(0.2)
    assert set(second.spent) == {"core_hours"}
    assert while_open["core_hours"] + 0.19 / 3600 < second.spent["core_hours"] < 60 / 3600
    assert json.loads(kept.read_text()) == second.spent


def zone(root: Path, folder: str, name: str, energy: int) -> Path:
    (root / folder).mkdir(parents=True)
    for file, text in (("name", name), ("energy_uj", str(energy)), ("max_energy_range_uj", str(10**12))):
        (root / folder / file).write_text(f"{text}\n")
    return root / folder / "energy_uj"


def test_energy_of_processors_is_of_packages_and_memory_and_counters_start_again(tmp_path: Path) -> None:
    """Parts of a package are in it already, and so is a package in the whole board."""
    package, memory = zone(tmp_path, "intel-rapl:0", "package-0", 10**12 - 10**11), zone(tmp_path, "intel-rapl:0:1", "dram", 0)
    core, board = zone(tmp_path, "intel-rapl:0:0", "core", 0), zone(tmp_path, "intel-rapl:1", "psys", 0)
    counted = list(processor_energy(tmp_path))
    for counter, energy in ((package, 26 * 10**10), (memory, 36 * 10**9), (core, 10**9), (board, 10**9)):
        counter.write_text(f"{energy}\n")
    assert [round(one.more(), 9) for one in counted] == [0.1, 0.01]  # 360 and 36 kJ, in kWh: the first went past its end
    assert [one.more() for one in counted] == [0, 0]
    assert list(processor_energy(tmp_path / "nothing")) == []


class NVMLError(Exception):
    pass


def test_gpu_hours_and_energy_are_of_each_gpu_that_a_step_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    energy = {"GPU-c": 0.0, "GPU-d": 0.0}  # mJ
    pynvml = SimpleNamespace(
        NVMLError=NVMLError, nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=str, nvmlDeviceGetTotalEnergyConsumption=energy.__getitem__
    )
    monkeypatch.setitem(sys.modules, "pynvml", pynvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda gpu: SimpleNamespace(uuid="abcd"[gpu]))
    with Meter(tmp_path / "spent.json", "cuda:2", processes=2) as meter:
        started = time.monotonic()
        energy |= {"GPU-c": 1.8e9, "GPU-d": 3.6e9}
        time.sleep(0.2)
        passed = time.monotonic() - started
    assert meter.spent["kilowatt_hours"] == 1.5
    assert 2 * passed <= meter.spent["gpu_hours"] * 3600 < 2 * passed + 2

    with Meter(tmp_path / "spent.json", "cuda:2", processes=2) as meter:
        energy.clear()  # cannot be read any more, which ends no step
    assert meter.spent["kilowatt_hours"] == 1.5 and meter.spent["gpu_hours"] > 0

    def away() -> None:
        raise NVMLError("no driver")

    pynvml.nvmlInit = away
    with Meter(tmp_path / "other.json", "cuda") as meter:
        pass
    assert set(meter.spent) == {"core_hours", "gpu_hours"}


def test_a_run_costs_what_was_made_for_it_by_the_prices_that_are_given(empty_store: Path) -> None:
    client = MlflowClient(f"sqlite:///{empty_store}")
    experiment = client.create_experiment("costs")
    parent, other = (client.create_run(experiment).info.run_id for _ in range(2))
    spent = ({"core_hours": 2.0, "gpu_hours": 1.0}, {"core_hours": 0.5}, None)
    for above, hours in zip((parent, parent, parent), spent, strict=True):  # one has not ended
        client.create_run(experiment, tags={"mlflow.parentRunId": above} | ({"spent": json.dumps(hours)} if hours else {}))
    client.create_run(experiment, tags={"mlflow.parentRunId": other, "spent": json.dumps({"core_hours": 7.0})})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.costs.MlflowClient", lambda: client)
        hours = {"core_hours": 2.5, "gpu_hours": 1.0}
        assert costs(experiment, parent, Prices()) == hours
        assert costs(experiment, parent, Prices(core_hour=0.04, gpu_hour=2.0)) == {**hours, "money": 2.1}
        assert costs(experiment, parent, Prices(kilowatt_hour=0.3)) == hours  # the energy was not read
        assert costs(experiment, "none", Prices(core_hour=1)) == {}
        log_costs(parent, costs(experiment, parent, Prices()))
        log_costs(parent, {})
    assert client.get_run(parent).data.metrics == {"cost/core_hours": 2.5, "cost/gpu_hours": 1.0}


def test_a_point_is_of_the_metric_that_the_gate_asks_to_improve() -> None:
    def by(value: float) -> Estimate:
        return Estimate(value, value - 1, value + 1)

    profile = load_profile("world")  # improve: quals, and bleu, which goes to 100
    found = per_point({"core_hours": 6.0, "money": 3.0}, profile, {"summarizer": {"quals": by(0.02)}, "table-qa": {"bleu": by(3.0)}})
    assert found == {
        "core_hours_per_point/summarizer": 3.0, "money_per_point/summarizer": 1.5,
        "core_hours_per_point/table-qa": 2.0, "money_per_point/table-qa": 1.0,
    }  # fmt: skip
    assert per_point({"core_hours": 6.0}, profile, {"summarizer": {"quals": by(-0.1)}, "table-qa": {"rougeL": by(2.0)}}) == {}
