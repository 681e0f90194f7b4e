"""Killed in each training step and run again: the same result, once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.conftest import Clone

pytestmark = pytest.mark.fault
TRAINED = (
    "base", "qagen-training", "qagen-gate", "table-question-generator", "table-qa-pretraining", "table-qa-plain", "table-qa",
    "summarizer-mle", "summarizer-positive-only", "summarizer-contrastive",
)  # fmt: skip


def test_killed_in_every_training_step_ends_as_if_never_killed(tmp_path: Path) -> None:
    """One clone is killed after the first of two steps of each model in turn, another never."""
    calm, killed = Clone(tmp_path / "calm"), Clone(tmp_path / "killed")
    result = calm.retrain("fault")
    assert result.returncode == 0, result.stderr[-3000:]
    for step in TRAINED:
        died = killed.retrain("fault", FACTLOOP_KILL=f"{step}:step:1")
        assert died.returncode == -signal.SIGKILL, f"{step} was not reached: {died.stdout[-500:]}{died.stderr[-2000:]}"
        marked = list((killed.folder / ".factloop" / "work").glob("*/checkpoints/step-00000001/COMPLETE.json"))
        assert len(marked) == 1
    last = killed.retrain("fault")
    assert last.returncode == 0, last.stderr[-3000:]
    assert "summarizer-contrastive: goes on from step 1 of 2" in last.stdout
    assert "base                       reused" in last.stdout
    one, other = calm.finished("fault"), killed.finished("fault")
    parent = ("retrain",)
    assert {step: one[step] for step in one if step not in parent} == {step: other[step] for step in other if step not in parent}
    assert one["retrain"]["metrics"] == other["retrain"]["metrics"]
    assert calm.versions() == killed.versions() and len(calm.versions()) == len(set(calm.versions()))
    leftovers = [path for path in (killed.folder / ".factloop").rglob("*") if "unfinished" in path.name]
    assert not leftovers and not any((killed.folder / ".factloop" / "work").iterdir())
    again = killed.retrain("fault")
    assert "nothing changed" in again.stdout
    assert "goes on from step 1" not in result.stdout
    for kind in ("summarizer", "table-qa"):
        alias = killed.ask(f"print(json.dumps(client.get_model_version_by_alias('fault-{kind}', 'champion').tags))")
        assert isinstance(alias, dict) and alias["gate_outcome"] == "promote"


def test_two_runs_at_once_one_goes_on_and_the_other_says_why(clone: Clone) -> None:
    code = """
from tasks.memo import lease
import subprocess, sys
with lease("retrain-fault"):
    print(json.dumps(subprocess.run([sys.executable, "-m", "flows.retrain", "--profile", "fault"], capture_output=True, text=True).stderr))"""
    told = clone.ask(code)
    assert "another process holds retrain-fault" in str(told)


def test_a_run_of_another_profile_waits_for_the_first_to_end(clone: Clone) -> None:
    """Two Prefect servers never share one SQLite file: neither a second run's nor that of `make ui`."""
    code = """
from filelock import FileLock
from tasks.server import LOCK
import subprocess, sys
with FileLock(LOCK):
    ports = ["--mlflow-port", "5917", "--prefect-port", "5918"]
    ui = subprocess.Popen([sys.executable, "-m", "flows.ui", *ports], stdout=subprocess.PIPE, text=True)
    pages = [ui.stdout.readline() for _ in range(2)]
    ui.terminate()
    left = [ui.wait(), subprocess.run(["pgrep", "-f", "mlflow serve[r] .*591[7]"], capture_output=True).stdout.decode()]
    run = subprocess.Popen([sys.executable, "-m", "flows.retrain", "--profile", "fault"], stdout=subprocess.PIPE, text=True)
    first = run.stdout.readline()
    waiting = run.poll() is None
print(json.dumps([pages, left, first, waiting, run.communicate()[0], run.returncode]))"""
    told = clone.ask(code)
    assert isinstance(told, list)
    pages, left, first, waiting, rest, code_of_exit = told
    assert "MLflow" in pages[0] and "Prefect  not now" in pages[1]
    assert left == [0, ""]
    assert "another run of this clone is under way" in first and waiting
    assert code_of_exit == 0 and "gate summarizer" in rest
