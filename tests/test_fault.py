"""The main job killed at every point that has a name: rerun, it ends as if never killed."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.guards import GUARDS
from tests.conftest import ROOT, Clone, Undisturbed
from tests.soundness import flaws, flip, outcome
from tests.test_compare import POINTS as COMPARE
from tests.test_drift import POINTS as DRIFT
from tests.test_killed_verbs import POINTS as VERBS
from tests.test_reliability import POINTS as RELIABILITY
from tests.test_rerun import POINTS as RERUN
from tests.test_sources import POINTS as SOURCES

pytestmark = pytest.mark.fault
FLIPPED = "training:step@table-qa-pretraining:1"  # after which a bit of the checkpoint is flipped
# In the order of the chain, so that each restart takes up what the last had done, in two clones.
FIRST = (
    "data:begun", "rows:half-written@documents.jsonl", "rows:written@questions.jsonl", "stage:ended@ingest",
    "stage:written@validate", "stage:ended@validate", "rows:half-written@mined.jsonl", "stage:cleared@mine", "stage:ended@mine",
    "rows:written@summaries.train.jsonl", "stage:ended@split", "data:reproduced", "store:made",
    "experiment:created", "parent:created", "parent:described", "parent:opened",
    "run:begun@base", "run:created@base", "run:parameters@base", "run:described@base",
    "checkpoint:unsealed", "checkpoint:sealed", "checkpoint:renamed", "curve:kept@base", "curve:sent@base", "training:step@base:2",
    "step:ended@base", "record:measured@base", "model:logged@base", "model:named@base", "model:registered@base",
)  # fmt: skip
SECOND = (
    "record:logged@base", "record:sealed@base", "record:finished@qagen-training", "run:described@judge-training",
    "record:logged@judge-training", "step:kept@judge-training", "alias:given@qagen:champion", "page:half-written@card", "page:renamed@card", "card:logged@qagen",
    FLIPPED, "rows:half-written@candidates.jsonl", "judged:kept@scores by quals:000000", "model:registered@summarizer-contrastive",
    "trace:logged@evaluate-summarizer-contrastive", "gate:told@table-qa", "gate:challenged@table-qa", "champion:told@fault-table-qa:gate", "champion:moved@fault-table-qa:gate",
    "champion:settled@fault-table-qa:gate", "gate:challenged@summarizer",
    "gate:compared@contrastive-mle", "page:half-written@report", "page:written@report", "page:renamed@report", "report:logged",
    "report:measured", "report:told", "parent:ending",
)  # fmt: skip


def test_every_point_in_the_source_is_tried_and_has_a_name_of_its_own() -> None:
    calls = [
        ast.literal_eval(node.args[0])
        for package in ("factloop", "tasks", "flows")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "kill_point"
    ]
    assert [name for name, count in Counter(calls).items() if count > 1] == []
    assert set(calls) == {point.partition("@")[0] for point in (*FIRST, *SECOND, *COMPARE, *DRIFT, *RELIABILITY, *RERUN, *SOURCES, *VERBS)}


@pytest.mark.unit
def test_what_shares_a_clone_runs_in_one_worker(request: pytest.FixtureRequest) -> None:
    """xdist 3.8 parts groups under pytest 9.2 without a word; then each worker makes each clone."""
    assert getattr(request.config.option, "loadgroup", False) == request.node.nodeid.endswith("@test_fault")


@pytest.mark.unit
def test_every_guard_that_can_be_taken_away_is_in_the_source_once() -> None:
    """`python -m benchmarks.guards` takes long: here it is only seen that it still can."""
    assert {guard.name: (ROOT / guard.file).read_text().count(guard.old) for guard in GUARDS} == dict.fromkeys((g.name for g in GUARDS), 1)
    for guard in GUARDS:
        path, _, name = guard.test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(), guard.test


def walk(clone: Clone, points: tuple[str, ...], data: dict[str, str], server: str) -> list[str]:
    """Kill a clone at each point; returns what the runs said."""
    clone.warm_up(server)
    said = []
    for point in points:
        died = clone.retrain("fault", FACTLOOP_KILL=point)
        assert died.returncode == -signal.SIGKILL, f"{point} was not reached: {died.stdout[-500:]}{died.stderr[-2000:]}"
        assert list(flaws(clone.folder, "fault", data)) == [], f"after {point}"
        said.append(died.stdout)
        if point == FLIPPED:
            (state,) = (clone.folder / ".factloop" / "work").glob("*/checkpoints/step-*/state.safetensors")
            flip(state)
    clone.cool_down()
    return said


def test_killed_at_every_point_it_ends_as_if_never_killed(tmp_path: Path, undisturbed: Undisturbed, prefect_server: str) -> None:
    """The last run of each clone is two, started at once: one goes on, the other leaves and says why."""
    expected = undisturbed.outcome
    assert len(expected["steps"]) == 21 and expected["logged twice"] == []
    clones = [Clone(tmp_path / name) for name in ("first", "second")]
    with ThreadPoolExecutor() as both:
        walks = [
            both.submit(walk, clone, points, expected["data"], prefect_server)
            for clone, points in zip(clones, (FIRST, SECOND), strict=True)
        ]
        said = "".join(line for done in walks for line in done.result())
    assert "base: goes on from step 1 of 2" in said
    assert "table-qa-pretraining: goes on from" not in said  # its checkpoint had a bit flipped
    for clone in clones:
        with ThreadPoolExecutor() as both:
            ends = [done.result() for done in [both.submit(clone.retrain, "fault") for _ in range(2)]]
        one, other = sorted(ends, key=lambda ended: ended.returncode)
        assert (one.returncode, other.returncode) == (0, 2), one.stderr[-3000:] + other.stderr[-3000:]
        assert other.stderr.startswith("retrain: another process holds retrain-fault: two runs were started at once")
        assert list(flaws(clone.folder, "fault", expected["data"])) == []
        assert outcome(clone.folder, "fault") == expected
        assert [path for path in (clone.folder / ".factloop").rglob("*") if "unfinished" in path.name] == []
    again = clones[1].retrain("fault")
    assert "nothing changed" in again.stdout


def test_two_runs_at_once_one_goes_on_and_the_other_says_why(clone: Clone) -> None:
    code = """
from tasks.memo import lease
import subprocess, sys
with lease("retrain-fault"):
    print(json.dumps(subprocess.run([sys.executable, "-m", "flows.retrain", "--profile", "fault"], capture_output=True, text=True).stderr))"""
    told = clone.ask(code)
    assert "another process holds retrain-fault" in str(told)


def test_a_run_of_another_profile_waits_for_the_first_to_end(undisturbed: Undisturbed) -> None:
    """Two Prefect servers never share one SQLite file: neither a second run's nor that of `make ui`."""
    code = """
from filelock import FileLock
from tasks.server import LOCK
import os, subprocess, sys
del os.environ["PREFECT_API_URL"]
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
    told = undisturbed.clone.ask(code)
    assert isinstance(told, list)
    pages, left, first, waiting, rest, code_of_exit = told
    assert "MLflow" in pages[0] and "Prefect  not now" in pages[1]
    assert left == [0, ""]
    assert "another run of this clone is under way" in first and waiting
    assert code_of_exit == 0 and "gate summarizer" in rest


def test_a_run_killed_alone_takes_its_data_stages_with_it(clone: Clone, prefect_server: str) -> None:
    """As the kernel does when memory runs out: the run's own process, not its group."""
    command, environment = [sys.executable, "-m", "flows.retrain", "--profile", "fault"], clone.environment(PREFECT_API_URL=prefect_server)
    run = subprocess.Popen(command, cwd=clone.folder, env=environment, stderr=subprocess.DEVNULL)
    while not (clone.folder / ".factloop" / "dvc.lock.before").exists():
        assert run.poll() is None
        time.sleep(0.05)
    run.kill()
    run.wait()
    while any(str(clone.folder) in where for where in map(working_folder, Path("/proc").glob("[0-9]*"))):
        time.sleep(0.3)
    assert not (clone.folder / "data" / "fault" / "split").exists()  # what was under way ended, and nothing followed


def working_folder(process: Path) -> str:
    try:
        return str((process / "cwd").readlink())
    except OSError:  # it has ended, or is not ours
        return ""
