"""A clean worktree of a recorded run, with its own environment, data and empty stores, in which it is run again."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from factloop.faults import kill_point

from .data import TARGET, copies, drop, outs_of, unlike
from .environment import ROOT, STATE
from .keys import digest
from .memo import Conflict, lease
from .origin import Origin, Refused

FOLDER = STATE / "rerun"
# Those of the stores, of Prefect and of fault tests are the scratch's own, those of git a hook's that may have started this.
DROPPED = ("MLFLOW_", "PREFECT_", "FACTLOOP_", "GIT_", "DVC_SITE_CACHE_DIR")
LAST = 2000  # characters of a failed command's output that are shown


@contextmanager
def scratch_folder(run_id: str, keep: Path | None) -> Iterator[Path]:
    """An empty folder for one rerun, removed however it ends; what a killed one left is removed by the next."""
    if keep and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise Refused(f"{keep}: exists and is not an empty folder")
    with lease(f"rerun-{run_id}"):
        for left in FOLDER.glob("*"):
            if left.name == run_id:
                _remove(left)
                continue
            try:
                with lease(f"rerun-{left.name}"):
                    _remove(left)
            except Conflict:  # under way
                continue
        folder = keep.absolute() if keep else FOLDER / run_id
        folder.mkdir(parents=True, exist_ok=True)
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        try:
            yield folder
        finally:
            signal.signal(signal.SIGTERM, before)
            for secrets in folder.glob("*/.dvc/config.local"):
                secrets.unlink()
            if not keep:
                _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # what a killed rerun had started may be writing there still
    _git(ROOT, "worktree", "prune")


def _git(where: Path, *arguments: str, given: bytes = b"") -> None:
    """Run git, without hooks; Refused with what it said where it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    done = subprocess.run(command, cwd=where, input=given, capture_output=True, check=False, env=clean)
    if done.returncode:
        raise Refused(f"git {' '.join(arguments[:2])} failed: {done.stderr.decode(errors='replace').strip()[-LAST:]}")


def make_tree(tree: Path, origin: Origin) -> None:
    """The commit, what its working tree had beside it, and its dvc.lock. `git apply` itself refuses paths outside the tree."""
    _git(ROOT, "worktree", "add", "--detach", str(tree), origin.commit)
    if origin.diff.strip():
        whole = origin.diff if origin.diff.endswith(b"\n") else origin.diff + b"\n"
        _git(tree, "apply", "--whitespace=nowarn", "-", given=whole)
    (tree / "dvc.lock").unlink(missing_ok=True)  # it may be a link to elsewhere
    (tree / "dvc.lock").write_text(origin.lock, encoding="utf-8")
    _share_data(tree)
    kill_point("tree:made")


def _share_data(tree: Path) -> None:
    """The worktree takes data from this clone's DVC cache and from the remotes that this clone knows."""
    from dvc.config import Config

    own = Config(str(ROOT / ".dvc"))
    with Config(str(tree / ".dvc")).edit("local") as local:
        local["cache"]["dir"] = own["cache"]["dir"]
        local["remote"] = own["remote"]
        if remote := own["core"].get("remote"):
            local["core"]["remote"] = remote


def differing_versions(constraints: Mapping[str, str]) -> dict[str, str]:
    """Packages that are here in another version than a run recorded: name -> `recorded, here`."""
    found = {}
    for name, version in constraints.items():
        try:
            here = importlib.metadata.version(name).partition("+")[0]  # a build's label says where it is from
        except importlib.metadata.PackageNotFoundError:
            here = "none"
        if here != version.partition("+")[0]:
            found[name] = f"{version}, here {here}"
    return found


def environment(folder: Path, constraints: Mapping[str, str], tell: Callable[[str], None]) -> Path:
    """The Python of an environment with these versions: this one if it has them, else a new one."""
    differing = differing_versions(constraints)
    if not differing:
        return Path(sys.executable)
    made = folder / f"environment-{digest(dict(constraints))[:12]}"
    if made.exists():
        return made / "bin" / "python"
    some = "; ".join(f"{name} {versions}" for name, versions in list(differing.items())[:5])
    tell(f"its environment is made anew: {len(differing)} of its {len(constraints)} packages are here in another version ({some})")
    pinned = folder / "constraints.txt"
    pinned.write_text("".join(f"{name}=={version}\n" for name, version in constraints.items()), encoding="utf-8")
    quiet = ["--quiet", "--disable-pip-version-check"]
    install = ["-m", "pip", "--python", str(made / "bin" / "python"), "install", *quiet, "--requirement", str(pinned)]
    for command in ([sys.executable, "-m", "venv", "--without-pip", str(made)], [sys.executable, *install]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-LAST:]
            raise Refused(f"the run's environment cannot be made from its constraints.txt:\n{said}")
    return made / "bin" / "python"


def variables(folder: Path, python: Path) -> dict[str, str]:
    """The environment of the scratch's processes: its stores, its Python, and of the caller's the rest."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "PYTHONUNBUFFERED": "1"}


def get_data(tree: Path, python: Path, origin: Origin, tell: Callable[[str], None]) -> None:
    """The data that the run had: from this clone's DVC cache, a remote, or made again; Refused if they come out otherwise."""
    recorded = outs_of(origin.profile, origin.lock)
    if not recorded:
        raise Refused(f"run {origin.run_id}: its dvc.lock has no data of profile {origin.profile}")
    target, own = f"{TARGET}@{origin.profile}", variables(tree.parent, python)

    def dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, env=own)

    if cached(recorded) or _remote():
        dvc("checkout" if cached(recorded) else "pull", "--with-deps", target)
        if not (damaged := unlike(recorded, tree)):
            tell("data  as recorded, from DVC")
            return
        drop(damaged)
    made = dvc("repro", target)
    if made.returncode:
        raise Refused(
            f"the run's data, which neither this clone's DVC cache nor a remote has, cannot be made again:\n{made.stdout[-LAST:]}"
        )
    if other := unlike(recorded, tree):
        names = ", ".join(str(path.relative_to(tree)) for path in other)
        raise Refused(
            f"the run's data cannot be had: made again, {names} came out otherwise than recorded, and no DVC cache or remote has it"
        )
    tell("data  as recorded, made again")


def cached(recorded: Mapping[str, list[dict[str, str]]]) -> bool:
    """Whether this clone's DVC cache has all of these outs; a damaged one is found once it is checked out."""
    return all((copies() / out["md5"][:2] / out["md5"][2:]).exists() for stage in recorded.values() for out in stage)


def _remote() -> bool:
    from dvc.config import Config

    return "remote" in Config(str(ROOT / ".dvc"))["core"]


def overrides(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The `--set` arguments that make the config here the recorded one, by whole sections; Refused where data differ."""
    other = [name for name, value in recorded.items() if value != here.get(name)]
    if kept := [name for name in (*other, *here) if name in ("data", "name") and recorded.get(name) != here.get(name)]:
        raise Refused(
            f"the run's {', '.join(dict.fromkeys(kept))} in its config is not what its commit and diff have: its record is damaged"
        )
    return [
        f"{name}={yaml.safe_dump(recorded[name], default_flow_style=True, width=10**9).removesuffix('...' + chr(10)).strip()}"
        for name in other
    ]


def run_again(tree: Path, python: Path, origin: Origin, verb: str, steps: Callable[[str], None]) -> None:
    """Run a verb in the tree with the recorded config; each line that it says goes to `steps`, all of it to a log."""
    own, log = variables(tree.parent, python), tree.parent / f"{tree.name}.log"
    path = tree / "configs" / f"{origin.profile}.yaml"
    if not path.exists():  # a profile that was never committed, of a run older than diffs with new files
        path.write_text(yaml.safe_dump({name: value for name, value in origin.config.items() if name != "name"}), encoding="utf-8")
    resolve = f"import flows, sys; from tasks.profiles import load_profile; print(load_profile({origin.profile!r}).model_dump_json())"
    resolved = subprocess.run([str(python), "-c", resolve], cwd=tree, capture_output=True, text=True, check=False, env=own)
    if resolved.returncode:
        raise Refused(f"profile {origin.profile} cannot be read at commit {origin.commit[:12]}:\n{resolved.stderr.strip()[-LAST:]}")
    sets = overrides(origin.config, yaml.safe_load(resolved.stdout))
    command = [str(python), "-m", f"flows.{verb}", "--profile", origin.profile, *(word for value in sets for word in ("--set", value))]
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, stderr=stream, text=True, env=own)
        try:
            for line in process.stdout or ():  # a pipe: if this process is killed, the other's next word ends it
                stream.write(line)
                steps(line.rstrip())
            status = process.wait()
        finally:
            process.terminate()
            process.wait()
    if status:
        raise Refused(f"run again, {verb} ended with status {status}:\n{log.read_text(encoding='utf-8', errors='replace').strip()[-LAST:]}")
