"""What docs/reliability.md promises beyond kills and damage: a tracking server that is away or loses what it answers, SIGTERM, disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

import mlflow
from tasks import memo, progress, tracking
from tasks.failures import Told, told
from tasks.isolated import load
from tasks.profiles import Isolation
from tests.conftest import ROOT
from tests.test_memo import Memo
from tests.tracking_server import Proxy, serve
from tests.training_steps import LOGGED, STEPS, trains

pytestmark = pytest.mark.fault
POINTS = ("run:begun@base", "curve:kept@base", "curve:sent@base")  # killed at below; test_fault.py holds these against the source


class Trained(Memo):
    """A store and one training, to which `events` happen just before the point of a step is logged."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, folder.name)
        self.work = folder / "state" / "work"
        self.events: dict[int, Callable[[], None]] = {}

    def step(self, config: dict[str, Any], inputs: dict[str, Path], out: Path, **given: Any) -> dict[str, Any]:
        self.ran += 1
        logs, events = given["progress"], self.events

        class Watched:
            name = logs.name

            def log(self, metrics: dict[str, float], step: int) -> None:
                events.pop(step, lambda: None)()
                logs.log(metrics, step)

        return trains(config, inputs, out, given["checkpoints"], Watched())

    def curve(self, name: str = "loss") -> list[tuple[int, float]]:
        (run,) = self.runs()
        return sorted((point.step, point.value) for point in self.client.get_metric_history(run.info.run_id, f"train/{name}"))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[int]:
    database = tmp_path_factory.mktemp("server") / "mlflow.db"
    shutil.copy(empty_store, database)
    with serve(database) as port:
        yield port


@pytest.fixture
def proxy(upstream: int) -> Iterator[Proxy]:
    made = Proxy(upstream)
    yield made
    made.down()


@pytest.fixture
def near(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trained]:
    """With its store in a file."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    yield from trained(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", monkeypatch)


@pytest.fixture
def far(tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trained]:
    """With its store behind the proxy. A server that is away is tried again at once, and waited for shortly."""
    for name in ("EVERY", "PAUSE", "SPARING"):
        monkeypatch.setattr(progress, name, 0)
    monkeypatch.setattr(tracking, "PATIENCE", 0.3)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    yield from trained(tmp_path, proxy.url, monkeypatch)


def trained(folder: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trained]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    monkeypatch.setattr(memo, "STATE", folder / "state")
    made = Trained(folder)
    monkeypatch.setattr(memo, "load", lambda step, threads: made.step)
    yield made
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[int, float]], bytes]:
    """Curve and weights of the training to which nothing happens."""

    class Keeps:
        name, curve = "base", []

        def log(self, metrics: dict[str, float], step: int) -> None:
            if "loss" in metrics:
                self.curve.append((step, metrics["loss"]))

    out = tmp_path_factory.mktemp("calm")
    trains({}, {}, out, out / "checkpoints", Keeps())
    assert [step for step, _ in Keeps.curve] == list(range(LOGGED, STEPS + 1, LOGGED))
    return Keeps.curve, (out / "model" / "weights").read_bytes()


def weights(done: memo.Done) -> bytes:
    return (Path(done.path) / "model" / "weights").read_bytes()


# Responses that are lost.


def test_with_every_response_lost_once_there_is_one_run_and_one_version(far: Trained, proxy: Proxy) -> None:
    """But those to what MLflow itself refuses to hear twice: there the step fails, and the next run takes it up."""
    seen: Counter[tuple[str, str, bytes]] = Counter()

    def first_time(*request: Any) -> bool:
        seen[request] += 1
        return request[1] not in ("/health", "runs/outputs") and seen[request] == 1

    proxy.loses = first_time
    done = far.once(served=True)
    proxy.loses = lambda *request: False
    asked = Counter(path for method, path, _ in proxy.handed if method == "POST")
    assert asked["runs/create"] == asked["model-versions/create"] == 2  # each was carried out twice
    assert [run.info.status for run in far.runs()] == ["FINISHED"]
    assert far.versions() == [done.version] == ["1"]
    assert str(far.client.get_model_version_by_alias(f"{far.context.profile}-base", "champion").version) == "1"
    assert [model.model_id for model in far.client.search_logged_models([far.experiment])] == [far.runs()[0].data.tags["model_id"]]
    assert [step for step, _ in far.curve()] == list(range(LOGGED, STEPS + 1, LOGGED))
    assert far.once(served=True).reused and far.ran == 1
    memo.once(far.context, "base", "factloop.steps.base:train", {"seed": 2}, {})
    assert len(far.runs()) == 2  # what another request made is no twin


def test_killed_after_a_response_was_lost_there_is_one_run_and_one_version(far: Trained, proxy: Proxy, kill: Callable[[str], None]) -> None:
    for point, path in (("run:begun@base", "runs/create"), ("model:registered@base", "model-versions/create")):
        lost = iter([True])
        proxy.loses = lambda method, asked, body, path=path, lost=lost: asked == path and next(lost, False)
        kill(point)
        far.killed(served=True)
        assert len(far.runs() if path == "runs/create" else far.versions()) == 2
    kill("")
    done = far.once(served=True)
    assert len(far.runs()) == 1 and far.versions() == [done.version]


# A server that is away.


def test_a_server_that_is_away_at_the_start_is_waited_for_and_then_told(
    far: Trained, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.down()
    with pytest.raises(Told) as left, told("retrain"):
        far.once()
    said = capsys.readouterr()
    assert left.value.code == 2 and "waiting for it for up to" in said.out
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"retrain: base: the tracking server {proxy.url} does not answer for 0 s; start it again")
    Timer(0.3, proxy.up).start()
    tracking.PATIENCE = 60  # restored with the fixture's
    assert not far.once().reused and far.ran == 1


def test_while_the_server_is_away_training_goes_on_and_its_curve_comes_once(
    far: Trained, proxy: Proxy, kill: Callable[[str], None], capsys: pytest.CaptureFixture[str], calm: tuple[list[tuple[int, float]], bytes]
) -> None:
    """Killed three times meanwhile: in the outage, as a point was kept, as the curve was sent and its file still there."""
    spool = far.folder / "state" / "work"
    for point, events in (
        ("training:step@base:14", {9: proxy.down}),  # 9 and 12 are kept
        ("curve:kept@base", {15: proxy.down}),  # goes on from 12; 15 is kept
        ("curve:sent@base", {}),  # goes on from 12; 9, 12 and 15, kept twice, are sent
    ):
        far.events = dict(events)
        kill(point)
        far.killed()
        assert len(list(spool.glob(f"*/{progress.SPOOL}"))) == 1
        if not proxy.listening:
            proxy.up()
    kill("")
    far.events = {21: proxy.down, 27: proxy.up}
    done = far.once()
    said = capsys.readouterr().out
    assert said.count("training goes on, its curve is kept in") == 2 and said.count("is back and has the curve") == 1
    assert far.curve() == calm[0] and weights(done) == calm[1]
    assert list(spool.iterdir()) == []


def test_what_is_kept_at_the_end_is_sent_before_the_step_counts_as_done(
    far: Trained, proxy: Proxy, capsys: pytest.CaptureFixture[str], calm: tuple[list[tuple[int, float]], bytes]
) -> None:
    far.events = {27: proxy.down}
    with pytest.raises(Told) as left, told("retrain"):
        far.once()
    assert left.value.code == 2
    proxy.up()
    (run,) = far.runs()
    assert run.info.status == "RUNNING" and "digest" not in run.data.tags
    far.events = {30: proxy.down}
    Timer(0.5, proxy.up).start()
    tracking.PATIENCE = 60
    done = far.once()
    assert "goes on from step 28" in capsys.readouterr().out
    assert far.curve() == calm[0] and weights(done) == calm[1] and len(far.curve("steps_per_second")) == 1


def test_a_point_that_came_though_its_response_was_lost_is_not_sent_again(far: Trained, proxy: Proxy, calm: Any) -> None:
    proxy.loses = lambda method, path, body: path == "runs/log-batch" and b'"train/loss"' in body and b'"step": 12' in body
    far.once()
    sent = [json.loads(body)["metrics"] for _, path, body in proxy.handed if path == "runs/log-batch" and b'"train/loss"' in body]
    tries = Counter(point["step"] for points in sent for point in points if point["key"] == "train/loss")
    assert tries[12] == 2 and all(count == 1 for step, count in tries.items() if step != 12)  # the client itself tries twice
    assert far.curve() == calm[0]


def test_a_curve_is_sent_now_and_then_and_at_the_end(far: Trained, proxy: Proxy, calm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 1000)
    far.once()
    sent = [body for _, path, body in proxy.handed if path == "runs/log-batch" and b'"train/loss"' in body]
    assert len(sent) == 2 and far.curve() == calm[0]


def test_a_verb_whose_server_does_not_answer_says_so(far: Trained, proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    from flows import promote

    proxy.down()
    mlflow.set_tracking_uri(proxy.url.replace("//", "//mara:secret@"))
    with pytest.raises(Told) as left:
        promote.main(["world-summarizer", "--version", "1"])
    said = capsys.readouterr()
    assert left.value.code == 2 and "secret" not in said.err
    assert said.err.startswith(f"promote: the tracking server {proxy.url} does not answer; start it again")


# SIGTERM.


@pytest.mark.parametrize("isolation", [None, Isolation()])
def test_asked_to_end_training_keeps_where_it_is_and_the_next_run_goes_on(
    near: Trained, isolation: Isolation | None, prefect_server: str, capsys: pytest.CaptureFixture[str], calm: Any, monkeypatch: Any
) -> None:
    """In a flow, as the verbs are: Prefect has its own handler there."""
    code = f"""
import flows
from pathlib import Path
from prefect import flow
from tasks import memo
from tasks.failures import told
from tasks.profiles import Isolation
memo.STATE = Path({str(near.folder / "state")!r})
context = memo.Context({near.experiment!r}, "none", {near.context.profile!r}, "cpu", 1, {{}}, {isolation!r})
@flow
def run():
    memo.once(context, "base", "tests.training_steps:trains", {{"pause": 0.15}}, {{}})
with told("retrain"):
    run()
"""
    environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "PREFECT_API_URL": prefect_server}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, **pipes) as process:
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until and not list(near.work.glob("*/checkpoints/step-*")):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    (kept,) = near.work.glob("*/checkpoints/step-*")
    step = int(kept.name.partition("-")[2])
    assert f"base: asked to end; kept as it is after step {step} of {STEPS}" in out, out + err
    assert process.returncode == 128 + signal.SIGTERM
    assert "retrain: ended by SIGTERM; started again, it goes on where it was" in err
    (run,) = near.runs()
    assert run.info.status == "KILLED"
    monkeypatch.setattr(memo, "load", load)
    done = memo.once(near.context, "base", "tests.training_steps:trains", {"pause": 0.15}, {})
    assert f"base: goes on from step {step} of {STEPS}" in capsys.readouterr().out
    assert near.curve() == calm[0] and weights(done) == calm[1]


# Checkpoints.


def test_no_more_than_one_checkpoint_interval_is_trained_again(near: Trained, kill: Callable[[str], None], capsys: Any, calm: Any) -> None:
    kill("training:step@base:19")
    near.killed()
    kill("")
    done = near.once()
    assert "base: goes on from step 16 of 30" in capsys.readouterr().out
    assert near.curve() == calm[0] and weights(done) == calm[1]


def test_checkpoints_on_another_file_system_are_whole_or_not_there(near: Trained, kill: Callable[[str], None], calm: Any) -> None:
    """`.factloop/work` may be a link to a faster disk: memory, here."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == near.folder.stat().st_dev:
        pytest.skip("no other file system to write to")
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        (near.folder / "state").mkdir()
        (near.folder / "state" / "work").symlink_to(elsewhere)
        for point in ("checkpoint:unsealed", "checkpoint:sealed"):
            kill(point)
            near.killed()
            assert list(Path(elsewhere).glob("*/checkpoints/step-*")) == []
        kill("checkpoint:renamed")
        near.killed()
        assert len(list(Path(elsewhere).glob("*/checkpoints/step-*"))) == 1
        kill("")
        done = near.once()
        assert near.curve() == calm[0] and weights(done) == calm[1]
        assert list(Path(elsewhere).iterdir()) == []


def test_a_disk_without_room_is_told_and_with_room_it_goes_on(
    near: Trained, kill: Callable[[str], None], capsys: pytest.CaptureFixture[str], calm: Any
) -> None:
    kill("training:step@base:7")
    near.killed()
    kill("")
    (work,) = near.work.iterdir()
    spool = work / progress.SPOOL
    kept = spool.rename(work / "kept")
    spool.symlink_to("/dev/full")
    with pytest.raises(Told) as left, told("retrain"):
        near.once()
    assert left.value.code == 2 and "no space left; make room or allow writing, and start this again" in capsys.readouterr().err
    kept.rename(spool)
    assert weights(near.once()) == calm[1] and near.curve() == calm[0]
