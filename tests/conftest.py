"""Fixtures. Tests of kind flow and fault run the real commands in a temporary clone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from tasks.verdicts import timeless
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


# Python that has imported what the verbs need and parsed their code, and makes a process of its own for each that it is told to run.
WARM = """
import flows, json, os, runpy, signal, sys
import alembic.command, factloop.steps.judge, factloop.steps.summaries, factloop.steps.tables, matplotlib.pyplot, prefect.flow_engine, sacrebleu
import mlflow.store.model_registry.sqlalchemy_store, mlflow.store.tracking.sqlalchemy_store, sqlalchemy.dialects.sqlite
import tasks.base, tasks.calibrate, tasks.report, tasks.summarizer, tasks.table_qa
from tasks.keys import code_digest
code_digest("flows.retrain")
code_digest.cache_clear()
for line in sys.stdin:
    (kind, what, *arguments), variables, streams = json.loads(line)
    process = os.fork()
    if not process:
        os.setsid()
        signal.alarm(600)
        for number, name in enumerate((os.devnull, *streams)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        os.environ.update(variables)
        sys.argv[1:] = arguments
        runpy.run_module(what, run_name="__main__", alter_sys=True) if kind == "-m" else exec(what, {"__name__": "__main__"})
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
        """Python with these arguments: forked from what is warm, or, told of a PYTHONPATH, from the start."""
        if self.warm and "PYTHONPATH" not in variables:
            assert self.warm.stdin and self.warm.stdout
            streams = [str(self.folder / ".git" / name) for name in ("stdout", "stderr")]
            print(json.dumps([arguments, variables, streams]), file=self.warm.stdin, flush=True)
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

    def ask(self, code: str, **variables: str) -> object:
        """What `code` prints as JSON, run in the clone with its stores."""
        result = self.run("-c", f"import flows, json\nfrom mlflow import MlflowClient\nclient = MlflowClient()\n{code}", **variables)
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
                "metrics": timeless(metrics),
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


class Store:
    """A store of its own for the verbs of a clone: nothing is written to the clone's."""

    def __init__(self, clone: Clone, folder: Path, database: Path) -> None:
        folder.mkdir()
        self.clone, self.folder = clone, folder
        self.path = shutil.copy(database, folder / "mlflow.db")
        self.client = MlflowClient(f"sqlite:///{self.path}", f"sqlite:///{self.path}")

    def run(self, *arguments: str, kill: str = "") -> subprocess.CompletedProcess[str]:
        return self.clone.run(*arguments, MLFLOW_TRACKING_URI=f"sqlite:///{self.path}", FACTLOOP_KILL=kill)

    def dies(self, point: str, *arguments: str) -> str:
        """What it said before."""
        died = self.run(*arguments, kill=point)
        assert died.returncode == -signal.SIGKILL, f"{point} was not reached: {died.stdout[-500:]}{died.stderr[-3000:]}"
        pages = (self.clone.folder / ".factloop" / "reports").rglob("*.html")
        assert [path for path in pages if not path.read_text().rstrip().endswith("</html>")] == [], f"after {point}"
        return died.stdout

    def ends(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ended = self.run(*arguments)
        assert ended.returncode in (0, 3) and "Traceback" not in ended.stderr, ended.stdout[-500:] + ended.stderr[-3000:]
        return ended

    def runs(self, asked: str) -> list[Any]:
        experiment = self.client.get_experiment_by_name("factloop-fault")
        assert experiment
        return list(self.client.search_runs([experiment.experiment_id], asked, order_by=["attributes.start_time DESC"]))

    def made(self, asked: str) -> list[tuple[Any, ...]]:
        """Status, parameters, metrics with the number of their points, files and number of traces of each such run."""
        return [
            (
                run.info.status,
                run.data.params,
                {
                    name: (value, len(self.client.get_metric_history(run.info.run_id, name)))
                    for name, value in timeless(run.data.metrics).items()
                },
                sorted(self.files(run.info.run_id)),
                len(self.client.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id, include_spans=False)),
            )
            for run in self.runs(asked)
        ]

    def files(self, run_id: str, folder: str | None = None) -> Iterator[str]:
        for item in self.client.list_artifacts(run_id, folder):
            if item.is_dir:
                yield from self.files(run_id, item.path)
            else:
                yield item.path.replace(run_id, "RUN")


@pytest.fixture
def stores(undisturbed: Undisturbed, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Killed and calm. What their verbs leave in the clone goes at the end."""
    clone = undisturbed.clone
    before = set((clone.folder / ".factloop").rglob("*"))
    database = clone.folder / ".factloop" / "mlflow.db"
    yield Store(clone, tmp_path / "killed", database), Store(clone, tmp_path / "calm", database)
    for path in sorted(set((clone.folder / ".factloop").rglob("*")) - before, reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


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
