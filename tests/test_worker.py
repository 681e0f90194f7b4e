"""A worker runs what is deployed: through the API of a real server, in a process of the worker's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flows.ui import end
from tests.conftest import Clone, Undisturbed
from tests.soundness import outcome

pytestmark = pytest.mark.flow
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def worker(undisturbed: Undisturbed, prefect_server: str) -> Iterator[Clone]:
    clone = undisturbed.clone
    log = (clone.folder / ".factloop" / "worker.log").open("w")
    environment = clone.environment(PREFECT_API_URL=prefect_server)
    command = [sys.executable, "-m", "flows.worker"]
    process = subprocess.Popen(command, cwd=clone.folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    yield clone
    end([process])  # Prefect's worker does not always heed one signal alone


def state(clone: Clone, server: str, verb: str, *arguments: str) -> tuple[str, str]:
    """Type and message of the state that a run of the deployment ends in, asked for and told by the API."""
    code = f"""
import flows, json, time
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
with get_client(sync_client=True) as client:
    until = time.monotonic() + 120
    while True:
        try:
            found = client.read_deployment_by_name("verb/nightly")
            break
        except ObjectNotFound:
            assert time.monotonic() < until, "prefect.yaml was not applied"
            time.sleep(1)
    run = client.create_flow_run_from_deployment(found.id, parameters={{"verb": {verb!r}, "arguments": {list(arguments)!r}}})
    while run.state_type is None or run.state_type.value not in {ENDED!r}:
        assert time.monotonic() < until + 120, run.state
        time.sleep(1)
        run = client.read_flow_run(run.id)
    print(json.dumps([run.state_type.value, run.state.message or ""]))"""
    result = clone.run("-c", code, PREFECT_API_URL=server)
    assert result.returncode == 0, result.stderr[-2000:] + (clone.folder / ".factloop" / "worker.log").read_text()[-3000:]
    kind, message = json.loads(result.stdout.strip().splitlines()[-1])
    return kind, message


def test_a_deployed_retrain_runs_on_the_worker_and_says_what_is_wrong(worker: Clone, prefect_server: str) -> None:
    before = outcome(worker.folder, "fault")
    assert state(worker, prefect_server, "retrain", "--profile", "fault")[0] == "COMPLETED"
    assert outcome(worker.folder, "fault") == before  # nothing was new
    assert "nothing changed" in (worker.folder / ".factloop" / "worker.log").read_text()
    kind, message = state(worker, prefect_server, "retrain", "--profile", "fault", "--set", "summarizer.likelihood.stepz=3")
    assert kind == "FAILED" and "stepz" in message
    with pytest.raises(AssertionError, match="'os' is not one of"):
        state(worker, prefect_server, "os", "--profile", "fault")


def test_new_data_asks_for_the_nightly_run_at_once(worker: Clone, prefect_server: str) -> None:
    """By the command that docs/workers.md gives; the pool is paused, so that nothing is trained."""
    code = """
import flows, json, subprocess, sys, time
from pathlib import Path
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter
with get_client(sync_client=True) as client:
    nightly = client.read_deployment_by_name("verb/nightly").id
    asked = FlowRunFilter(deployment_id={"any_": [nightly]}, state={"type": {"any_": ["SCHEDULED", "PENDING"]}})
    runs = lambda: [run for run in client.read_flow_runs(flow_run_filter=asked) if not run.auto_scheduled]
    before = len(runs())
    client.update_work_pool("gpu", WorkPoolUpdate(is_paused=True))
    prefect = str(Path(sys.executable).parent / "prefect")
    subprocess.run([prefect, "event", "emit", "factloop.data.new", "--resource-id", "factloop.data"], check=True, capture_output=True)
    until = time.monotonic() + 60
    while not (found := runs()) and time.monotonic() < until:
        time.sleep(0.5)
    for run in found:
        client.delete_flow_run(run.id)
    client.update_work_pool("gpu", WorkPoolUpdate(is_paused=False))
    print(json.dumps([before, [[run.parameters, run.created_by.type] for run in found]]))"""
    result = worker.run("-c", code, PREFECT_API_URL=prefect_server)
    assert result.returncode == 0, result.stderr[-2000:]
    made = [{"verb": "retrain", "arguments": ["--profile", "world"]}, "AUTOMATION"]
    assert json.loads(result.stdout.strip().splitlines()[-1]) == [0, [made]]


def test_a_stuck_run_is_looked_for_and_a_slot_is_held(worker: Clone, prefect_server: str) -> None:
    code = """
import flows, json, socket, time
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from flows.worker import STUCK
with get_client(sync_client=True) as client:
    until = time.monotonic() + 120
    while True:  # the worker may still be starting
        try:
            limit = client.read_global_concurrency_limit_by_name(f"factloop-{socket.gethostname()}")
            automations = client.read_automations_by_name(STUCK)
        except ObjectNotFound:
            automations = []
        if automations or time.monotonic() > until:
            break
        time.sleep(1)
    print(json.dumps([len(automations), limit.limit, limit.active_slots]))"""
    result = worker.run("-c", code, PREFECT_API_URL=prefect_server)
    assert result.returncode == 0, result.stderr[-2000:]
    assert json.loads(result.stdout.strip().splitlines()[-1]) == [1, 1, 0]


def test_without_a_server_a_worker_says_what_to_start(clone: Clone) -> None:
    for address in ("", "http://127.0.0.1:1/api"):
        result = clone.run("-m", "flows.worker", **({"PREFECT_API_URL": address} if address else {}))
        assert result.returncode == 2 and "start `make ui` first, or set PREFECT_API_URL" in result.stderr
