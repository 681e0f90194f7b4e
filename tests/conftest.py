"""Fixtures. Tests of kind flow and fault run the real commands in a temporary clone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from tests.soundness import Killed, outcome

ROOT = Path(__file__).resolve().parent.parent
# Clones in which a profile has run, the slowest to make first: what uses one runs in one worker, so that it is made once.
SHARED = ("smoke", "undisturbed")


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The groups that `--dist loadgroup` gives to workers whole, the longest first."""
    groups = {item: next((name for name in SHARED if name in item.fixturenames), item.path.stem) for item in items}  # type: ignore[attr-defined]
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: SHARED.index(groups[item]) if groups[item] in SHARED else len(SHARED))


# Python that has imported what the verbs need, and makes a process of its own for each that it is told to run.
WARM = """
import flows, json, os, runpy, signal, sys
import factloop.steps.judge, factloop.steps.summaries, factloop.steps.tables, matplotlib.pyplot, tasks.calibrate, tasks.report, tasks.table_qa
for line in sys.stdin:
    (module, *arguments), variables, streams = json.loads(line)
    process = os.fork()
    if not process:
        os.setsid()
        signal.alarm(600)
        for number, name in enumerate((os.devnull, *streams)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        os.environ.update(variables)
        sys.argv[1:] = arguments
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)"""


class Clone:
    """A copy of the working tree with git, its own state, and this environment's Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cool_down()
        listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "clone"]):
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)

    def environment(self, **variables: str) -> dict[str, str]:
        others = ("MLFLOW_TRACKING_URI", "PREFECT_", "DATA_MIRROR", "PYTEST", "FACTLOOP")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}", "MPLCONFIGDIR": str(ROOT / ".factloop" / "matplotlib")}
        return clean | own | self.variables | variables

    def cool_down(self) -> None:
        self.variables: dict[str, str] = {}  # of every process
        self.warm: subprocess.Popen[str] | None = None

    def warm_up(self, server: str) -> None:
        """From here on, spare every verb what takes most of its time: its imports, and a Prefect server. One verb at a time."""
        self.variables = {"PREFECT_API_URL": server}
        command, pipe = [sys.executable, "-c", WARM], subprocess.PIPE
        self.warm = subprocess.Popen(command, cwd=self.folder, env=self.environment(), stdin=pipe, stdout=pipe, text=True)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        if self.warm and arguments[0] == "-m" and "PYTHONPATH" not in variables:
            assert self.warm.stdin and self.warm.stdout
            streams = [str(self.folder / ".git" / name) for name in ("stdout", "stderr")]
            print(json.dumps([arguments[1:], variables, streams]), file=self.warm.stdin, flush=True)
            code = int(self.warm.stdout.readline())
            return subprocess.CompletedProcess(arguments, code, *(Path(path).read_text() for path in streams))
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            env=self.environment(**variables),
            start_new_session=True,  # a kill takes the process group: all that the run has started, and nothing else
        )

    def shell(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script in a mount namespace of its own, where it may mount what it likes; skips where there are none."""
        namespace = ["unshare", "--map-root-user", "--mount"]
        if not shutil.which(namespace[0]) or subprocess.run([*namespace, "true"], capture_output=True).returncode:
            pytest.skip("no mount namespaces for this user: no disk to fill")
        return subprocess.run(
            [*namespace, "sh", "-c", script],
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=500,
            env=self.environment(**variables),
        )  # fmt: skip

    def retrain(self, profile: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "flows.retrain", "--profile", profile, *arguments, **variables)

    def ask(self, code: str) -> object:
        """What `code` prints as JSON, run in the clone with its stores."""
        result = self.run("-c", f"import flows, json\nfrom mlflow import MlflowClient\nclient = MlflowClient()\n{code}")
        assert result.returncode == 0, result.stderr[-3000:]
        return json.loads(result.stdout.strip().splitlines()[-1])

    def finished(self, profile: str) -> dict[str, dict[str, object]]:
        """Every run by its step: key, digest, metrics; fails where one has not finished or a key has two. Those found corrupt do not count."""
        found = self.ask(f"""
runs = client.search_runs([client.get_experiment_by_name("factloop-{profile}").experiment_id], max_results=1000)
print(json.dumps([[r.info.status, dict(r.data.tags), dict(r.data.metrics)] for r in runs if "corrupt" not in r.data.tags]))""")
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
def smoke(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> tuple[Clone, subprocess.CompletedProcess[str]]:
    """A clone in which the whole chain of profile smoke has run once, and how it ended."""
    made = Clone(tmp_path_factory.mktemp("smoke") / "clone")
    result = made.retrain("smoke")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    made.warm_up(prefect_server)
    return made, result


@dataclass(frozen=True)
class Undisturbed:
    """A clone in which the chain of profile fault has run, and what that left at once."""

    clone: Clone
    outcome: dict[str, Any]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Undisturbed:
    made = Clone(tmp_path_factory.mktemp("undisturbed") / "clone")
    result = made.retrain("fault")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "goes on from step" not in result.stdout
    made.warm_up(prefect_server)
    return Undisturbed(made, outcome(made.folder, "fault"))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Prefect server for many runs: each would else spend seconds to start its own."""
    clone = Clone(tmp_path_factory.mktemp("server") / "clone")
    code = "import flows, sys\nfrom tasks.server import prefect_api\nwith prefect_api() as url:\n print(url, flush=True)\n sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=clone.folder, env=clone.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin and server.stdout
        yield server.stdout.readline().strip()
        server.stdin.close()


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def die(group: int, number: int) -> None:
        raise Killed

    monkeypatch.setattr(os, "killpg", die)
    return lambda point: monkeypatch.setenv("FACTLOOP_KILL", point)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
