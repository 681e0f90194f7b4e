"""A step in a process of its own: it can be killed, timed out and tried again without the worker that waits for it.

The step goes on from its newest checkpoint when it is tried again. What it needs goes to the process as JSON on
its standard input, what came of it comes back as JSON in a file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import mlflow

from .environment import ROOT, prepare
from .profiles import Isolation

REPLY = "reply.json"


class StepFailed(RuntimeError):
    """A step's own process ended without a result, for a reason that a person can mend."""


def load(step: str, threads: int) -> Callable[..., dict[str, Any]]:
    """The function of a step, and torch with it."""
    import torch

    torch.set_num_threads(threads)
    function: Callable[..., dict[str, Any]] = resolve_name(step)
    return function


def end_with(parent: int) -> None:
    """End this process when its parent does, however that ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.3)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def run_isolated(
    step: str, name: str, run_id: str, threads: int, config: Mapping[str, Any], inputs: Mapping[str, Path], work: Path, how: Isolation
) -> dict[str, Any]:
    """The metrics of a step whose files are left in `work/out`; StepFailed if it failed every time, with what it said."""
    request = {
        "step": step, "name": name, "run_id": run_id, "threads": threads, "config": dict(config),
        "inputs": {label: str(path) for label, path in inputs.items()}, "work": str(work),
    }  # fmt: skip
    for attempt in range(1, how.attempts + 1):
        why = _try(request, work, how.timeout)
        if why is None:
            metrics: dict[str, Any] = json.loads((work / REPLY).read_text())["metrics"]
            return metrics
        if attempt < how.attempts:
            print(f"{name}: {why}; attempt {attempt + 1} of {how.attempts} goes on from the newest checkpoint", flush=True)
    raise StepFailed(f"{name}: {why}" + (f", {how.attempts} times" if how.attempts > 1 else ""))


def _try(request: Mapping[str, Any], work: Path, timeout: float | None) -> str | None:
    """None if a process made the step; else what became of it. What it raised of itself would come again, and is raised."""
    (work / REPLY).unlink(missing_ok=True)
    command = [sys.executable, "-m", "tasks.isolated", str(os.getpid())]
    environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, text=True) as process:
        try:
            process.communicate(json.dumps(request), timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"not done after {timeout:.0f} s"
        except BaseException:
            process.terminate()
            raise
    if process.returncode < 0:
        return f"its process was ended by {signal.Signals(-process.returncode).name}, by a person or for want of memory"
    if not (work / REPLY).exists():
        return f"its process ended with exit code {process.returncode}"
    reply = json.loads((work / REPLY).read_text())
    if "told" in reply:
        raise StepFailed(reply["told"])
    if "raised" in reply:
        raise RuntimeError(f"{request['name']}, in a process of its own:\n{reply['raised']}")
    return None


def main() -> None:
    """What the process does: the step, with its curve logged as it grows."""
    end_with(int(sys.argv[1]))
    request = json.load(sys.stdin)
    work = Path(request["work"])
    shutil.rmtree(work / "out", ignore_errors=True)
    (work / "out").mkdir(parents=True)
    from mlflow.tracking import MlflowClient

    from .failures import said
    from .progress import SPOOL, RunProgress

    progress = RunProgress(request["name"], MlflowClient(), request["run_id"], work / SPOOL)
    try:
        run_step = load(request["step"], request["threads"])
        metrics = run_step(
            config=request["config"], inputs={label: Path(path) for label, path in request["inputs"].items()}, out=work / "out",
            checkpoints=work / "checkpoints", progress=progress,
        )  # fmt: skip
        reply: dict[str, Any] = {"metrics": metrics}
    except Exception as error:
        reply = {"told": text} if (text := said(error)) else {"raised": traceback.format_exc()}
    scratch = work / f"{REPLY}.unfinished"
    scratch.write_text(json.dumps(reply))
    scratch.replace(work / REPLY)


if __name__ == "__main__":
    prepare()
    main()
