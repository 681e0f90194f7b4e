"""Steps in processes of their own: killed, out of time, wrong; and the caller of each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from tasks import isolated, memo
from tasks.isolated import StepFailed
from tasks.profiles import Isolation
from tests.conftest import ROOT
from tests.test_memo import Memo, one  # noqa: F401

pytestmark = pytest.mark.fault
STEP, SHARED = "tests.isolated_steps:goes", "tests.isolated_steps:shared"


def run(made: Memo, isolation: Isolation | None, step: str = STEP, **config: Any) -> memo.Done:
    data = made.folder / "data"
    data.write_text("seven")
    context = memo.Context(made.experiment, "none", "memo", "cpu", 1, {"profile": "memo"}, isolation)
    return memo.once(context, "step", step, config, {"data": (str(data), "d")})


def test_a_step_runs_in_a_process_of_its_own_and_is_recorded_as_ever(one: Memo) -> None:  # noqa: F811
    done = run(one, Isolation())
    assert done.metrics["process"] != os.getpid() and done.metrics["attempt"] == done.metrics["threads"] == 1
    assert Path(done.path, "from-attempt-1").read_text() == "seven"
    assert [point.value for point in MlflowClient().get_metric_history(done.run_id, "train/loss")] == [1.0]
    assert run(one, Isolation(timeout=60)).run_id == done.run_id  # how it runs is no part of its key


def test_several_processes_share_a_training_and_one_of_them_reports(one: Memo, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    training = {"steps": 6, "batch_size": 4, "learning_rate": 0.1, "warmup": 1, "parts": 2}
    both = run(one, Isolation(processes=2, timeout=200), SHARED, training=training)
    assert both.metrics["processes"] == 2 and [path.name for path in Path(both.path).iterdir()] == ["of-0"]
    history = MlflowClient().get_metric_history(both.run_id, "train/loss")
    assert [point.step for point in history] == [1, 2, 3, 4, 5, 6]
    monkeypatch.setattr(memo, "load", isolated.load)
    assert run(one, None, SHARED, training=training).run_id == both.run_id  # how it runs is no part of its key
    alone = run(one, None, SHARED, training=training, again=True)
    assert alone.metrics["processes"] == 1 and alone.metrics["weight"] == pytest.approx(both.metrics["weight"], abs=1e-6)


def test_one_of_several_processes_that_dies_ends_the_others(one: Memo) -> None:  # noqa: F811
    training = {"steps": 6, "batch_size": 4, "learning_rate": 0.1, "parts": 2}
    with pytest.raises(StepFailed, match="step: its process was ended by SIGKILL"):
        run(one, Isolation(processes=2, timeout=200, attempts=1), SHARED, training=training, dies=True)
    with pytest.raises(RuntimeError, match="2 processes share a batch's parts, and parts is 1: set it to a multiple"):
        run(one, Isolation(processes=2, timeout=200), SHARED, training=training | {"parts": 1})


@pytest.mark.parametrize("trouble", [{"killed": 1}, {"sleeps": 1}])
def test_one_that_is_killed_or_late_is_tried_again_from_its_checkpoint(one: Memo, trouble: dict[str, int]) -> None:  # noqa: F811
    done = run(one, Isolation(timeout=25 if "sleeps" in trouble else 200), **trouble)
    assert done.metrics["attempt"] == 2
    assert [path.name for path in Path(done.path).iterdir()] == ["from-attempt-2"]  # nothing of the first attempt


@pytest.mark.parametrize(
    ("trouble", "error", "says"),
    [
        ({"killed": 9}, StepFailed, "step: its process was ended by SIGKILL, .*, 2 times"),
        ({"diverges": True}, StepFailed, "the loss is nan at step 3 of 4"),
        ({"broken": True}, RuntimeError, "step, in a process of its own:(?s:.*)KeyError: 'a defect'"),
    ],
)
def test_what_goes_wrong_is_told_and_leaves_a_failed_run(one: Memo, trouble: dict[str, Any], error: type[Exception], says: str) -> None:  # noqa: F811
    with pytest.raises(error, match=says):
        run(one, Isolation(), **trouble)
    (failed,) = one.runs()
    assert failed.info.status == "FAILED" and "error" in failed.data.tags


def test_it_ends_with_the_one_that_waits_for_it(one: Memo, tmp_path: Path) -> None:  # noqa: F811
    code = f"""
from pathlib import Path
from tasks.isolated import run_isolated
from tasks.profiles import Isolation
Path({str(tmp_path)!r}, "data").write_text("seven")
run_isolated({STEP!r}, "step", {one.client.create_run(one.experiment).info.run_id!r}, 1, {{"sleeps": 9}}, {{"data": Path({str(tmp_path)!r}, "data")}},
             Path({str(tmp_path)!r}, "work"), Isolation())
"""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment) as caller:
        until = time.monotonic() + 120
        while not list(tmp_path.glob("work/checkpoints/*")) and time.monotonic() < until:
            time.sleep(0.2)
        (child,) = map(int, Path(f"/proc/{caller.pid}/task/{caller.pid}/children").read_text().split())
        caller.send_signal(signal.SIGKILL)
    until = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()
