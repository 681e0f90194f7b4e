"""What deploy/ declares for Compose, Kubernetes and Prefect's work pools agrees with itself; nothing here starts a container."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.server.schemas.actions import validate_base_job_template
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.base import BaseJobConfiguration
from prefect_docker.worker import DockerWorkerJobConfiguration
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from tests.conftest import ROOT

pytestmark = pytest.mark.unit
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
EXAMPLE = {line.partition("=")[0] for line in (DEPLOY / ".env.example").read_text().splitlines() if line and not line.startswith("#")}


def manifests() -> Iterator[dict[str, Any]]:
    for name in [*KUSTOMIZATION["resources"], "kubernetes/jobs/leave.yaml"]:
        yield from yaml.safe_load_all((DEPLOY / name).read_text())


def pods() -> dict[str, dict[str, Any]]:
    return {
        found["metadata"]["name"]: found["spec"]["template"]["spec"]
        for found in manifests()
        if found["kind"] in ("Deployment", "StatefulSet")
    }


def environment(container: dict[str, Any]) -> dict[str, str]:
    """Values, and `${KEY}` for what comes from the secret, as Compose has it."""
    return {entry["name"]: entry.get("value") or f"${{{entry['valueFrom']['secretKeyRef']['key']}}}" for entry in container["env"]}


@pytest.mark.parametrize("service", ["mlflow", "prefect", "worker"])
def test_kubernetes_starts_what_compose_starts(service: str) -> None:
    (container,) = pods()[service]["containers"]
    declared = COMPOSE["services"][service]
    assert container["args"] == declared["command"]
    assert environment(container) == {name: re.sub(r":[-?][^}]*}", "}", value) for name, value in declared["environment"].items()}
    assert (ROOT / "deploy" / "Dockerfile").is_file() and declared["build"]["dockerfile"] == "deploy/Dockerfile"
    assert pods()[service]["enableServiceLinks"] is False  # Kubernetes would set MLFLOW_PORT and PREFECT_PORT to what is no port


def test_every_secret_is_asked_for_and_none_is_written_down() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text)) - {"IMAGE", "BIND", "WORKER"}
    keys = {value[2:-1] for pod in pods().values() for value in environment(pod["containers"][0]).values() if value.startswith("$")}
    assert asked == keys == EXAMPLE
    for name in asked - {"MLFLOW_ARTIFACTS_DESTINATION", "MLFLOW_SERVER_ALLOWED_HOSTS"}:
        assert set(re.findall(rf"\$\{{{name}(..)", text)) == {":?"}, f"{name} has a default"
        assert f"\n{name}=\n" in (DEPLOY / ".env.example").read_text()


def test_what_is_opened_is_on_localhost_and_each_server_is_watched() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service.get("ports", [])), name
        assert name == "worker" or service["healthcheck"]["test"]
    for found in manifests():
        assert found["kind"] != "Ingress" and found["spec"].get("type", "ClusterIP") == "ClusterIP" if "spec" in found else True
    for name, pod in pods().items():
        assert name == "worker" or pod["containers"][0]["readinessProbe"], name
        assert name == "postgres" or pod["securityContext"]["runAsNonRoot"]


@pytest.mark.parametrize(
    ("kind", "configuration"), [("docker", DockerWorkerJobConfiguration), ("kubernetes", KubernetesWorkerJobConfiguration)]
)
def test_prefect_makes_a_job_of_each_template(
    kind: str, configuration: type[BaseJobConfiguration], prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = {
        "MLFLOW_TRACKING_URI": "http://mlflow:5000", "MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "hush",
        "FACTLOOP_SLOT": "factloop-worker-0", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",
    }  # fmt: skip
    for name, value in worker.items():
        monkeypatch.setenv(name, value)
    template = json.loads((DEPLOY / f"{kind}-job.json").read_text())
    validate_base_job_template(template)  # as the server does
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        job: Any = asyncio.run(configuration.from_template_and_values(base_job_template=template, values={"image": "registry/factloop:1"}))
    job.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="nightly"))
    assert "{{" not in json.dumps(job.model_dump(mode="json"))
    if kind == "docker":
        assert job.command == "prefect flow-run execute" and job.image == "registry/factloop:1"
        assert job.env.items() >= (worker | {"PREFECT_API_URL": "http://prefect:4200/api"}).items()
        assert job.volumes == [f"{COMPOSE['name']}_state:/factloop/.factloop"] and job.networks == [f"{COMPOSE['name']}_default"]
        return
    spec = job.job_manifest["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    told = {entry["name"]: entry for entry in container["env"]}
    assert container["args"] == ["prefect", "flow-run", "execute"] and container["image"] == "registry/factloop:1"
    assert told["MLFLOW_TRACKING_URI"]["value"] == "http://mlflow:5000" and "hush" not in json.dumps(job.job_manifest)
    assert told["MLFLOW_TRACKING_PASSWORD"]["valueFrom"]["secretKeyRef"]["key"] in EXAMPLE
    claims = {found["metadata"]["name"] for found in manifests() if found["kind"] == "PersistentVolumeClaim"}
    assert {volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"]} <= claims
    assert told["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]["value"] == "60"
