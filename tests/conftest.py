"""Fixtures. Tests of kind flow and fault run the real commands in a temporary clone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Clone:
    """A copy of the working tree with git, its own state, and this environment's Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "clone"]):
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        own = ("MLFLOW_TRACKING_URI", "PREFECT_", "DATA_MIRROR", "PYTEST", "FACTLOOP")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=clean | {"PATH": path} | variables,
        )

    def retrain(self, profile: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "flows.retrain", "--profile", profile, *arguments, **variables)

    def ask(self, code: str) -> object:
        """What `code` prints as JSON, run in the clone with its stores."""
        result = self.run("-c", f"import flows, json\nfrom mlflow import MlflowClient\nclient = MlflowClient()\n{code}")
        assert result.returncode == 0, result.stderr[-3000:]
        return json.loads(result.stdout.strip().splitlines()[-1])

    def finished(self, profile: str) -> dict[str, dict[str, object]]:
        """Every finished run by its step: key, digest, metrics; fails where a key has two runs."""
        found = self.ask(f"""
runs = client.search_runs([client.get_experiment_by_name("factloop-{profile}").experiment_id], max_results=1000)
print(json.dumps([[r.info.status, dict(r.data.tags), dict(r.data.metrics)] for r in runs]))""")
        assert isinstance(found, list)
        keys = [tags["run_key"] for _, tags, _ in found]
        assert len(keys) == len(set(keys)), "a key has two runs"
        assert all(status == "FINISHED" for status, _, _ in found)
        return {
            tags["step"]: {
                "key": tags["run_key"],
                "digest": tags.get("digest"),
                "metrics": {name: value for name, value in metrics.items() if "per_second" not in name},
            }
            for _, tags, metrics in found
        }

    def versions(self) -> list[tuple[str, str]]:
        """(registered name, run key) of every model version."""
        found = self.ask("print(json.dumps([[v.name, v.tags['run_key']] for v in client.search_model_versions(max_results=1000)]))")
        assert isinstance(found, list)
        return sorted((name, key) for name, key in found)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, subprocess.CompletedProcess[str]]:
    """A clone in which the whole chain of profile smoke has run once, and how it ended."""
    made = Clone(tmp_path_factory.mktemp("smoke") / "clone")
    result = made.retrain("smoke")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return made, result
