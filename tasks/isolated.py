"""A step in a process of its own: it can be killed, timed out and tried again without the worker that waits for it.

The step goes on from its newest checkpoint when it is tried again. What it needs goes to the process as JSON on
its standard input, what came of it comes back as JSON in a file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import mlflow
from factloop.lifetime import end_with

from .environment import ROOT, prepare
from .keys import flatten
from .profiles import Isolation

REPLY = "reply.json"


class StepFailed(RuntimeError):
    """A step's own process ended without a result, for a reason that a person can mend."""


def load(step: str, threads: int, rank: int = 0) -> Callable[..., dict[str, Any]]:
    """The function of a step, and torch with it. Of several processes each has a GPU of its own."""
    import torch

    torch.set_num_threads(threads)
    if rank and torch.cuda.is_available():
        torch.cuda.set_device(rank)
    function: Callable[..., dict[str, Any]] = resolve_name(step)
    return function


def run_isolated(
    step: str, name: str, run_id: str, threads: int, config: Mapping[str, Any], inputs: Mapping[str, Path], work: Path, how: Isolation
) -> dict[str, Any]:
    """The metrics of a step whose files are left in `work/out`; StepFailed if it failed every time, with what it said."""
    request = {
        "step": step, "name": name, "run_id": run_id, "threads": threads, "config": dict(config),
        "inputs": {label: str(path) for label, path in inputs.items()}, "work": str(work),
    }  # fmt: skip
    for attempt in range(1, how.attempts + 1):
        why = _try(request, work, how)
        if why is None:
            metrics: dict[str, Any] = json.loads((work / REPLY).read_text())["metrics"]
            return metrics
        if attempt < how.attempts:
            print(f"{name}: {why}; attempt {attempt + 1} of {how.attempts} goes on from the newest checkpoint", flush=True)
    raise StepFailed(f"{name}: {why}" + (f", {how.attempts} times" if how.attempts > 1 else ""))


def _try(request: Mapping[str, Any], work: Path, how: Isolation) -> str | None:
    """None if its processes made the step; else what became of them. What the step raised of itself would come again, and is raised."""
    (work / REPLY).unlink(missing_ok=True)
    command = [sys.executable, "-m", "tasks.isolated", str(os.getpid())]
    environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    with ExitStack() as all_ended:
        processes = [
            all_ended.enter_context(subprocess.Popen(command, cwd=ROOT, env=environment | own, stdin=subprocess.PIPE, text=True))
            for own in _ranks(how.processes if trains(request["config"]) else 1)
        ]
        try:
            for process in processes:
                assert process.stdin
                with suppress(BrokenPipeError), process.stdin:
                    json.dump(request, process.stdin)
            code = _wait(processes, how.timeout)
        except BaseException:
            for process in processes:
                process.terminate()
            raise
    if code is None:
        return f"not done after {how.timeout:.0f} s"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}, by a person or for want of memory"
    if not (work / REPLY).exists():
        return f"its process ended with exit code {code}"
    reply = json.loads((work / REPLY).read_text())
    if "told" in reply:
        raise StepFailed(reply["told"])
    if "raised" in reply:
        raise RuntimeError(f"{request['name']}, in a process of its own:\n{reply['raised']}")
    return None


def trains(config: Mapping[str, Any]) -> bool:
    """Whether a step is one that several processes can share."""
    return any(name.rpartition(".")[2] == "learning_rate" for name in flatten(config))


def _ranks(count: int) -> list[dict[str, str]]:
    """What tells the processes of a training of each other, as `torchrun` does it."""
    if count == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def _wait(processes: Sequence[subprocess.Popen[str]], timeout: float | None) -> int | None:
    """The exit code of all, or of the first that failed, after which the others, who would wait for it, are killed; None: out of time."""
    until = time.monotonic() + (timeout or float("inf"))
    while True:
        codes = [process.poll() for process in processes]
        failed = next((code for code in codes if code), None)
        if failed is None and None not in codes:
            return 0
        if failed is not None or time.monotonic() > until:
            for process in processes:
                process.kill()
            return failed
        time.sleep(0.05)


def main() -> None:
    """What the process does: the step, with its curve logged as it grows."""
    end_with(int(sys.argv[1]))
    request = json.load(sys.stdin)
    work, rank = Path(request["work"]), int(os.environ.get("RANK", 0))
    out = work / (f"out-{rank}" if rank else "out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    from mlflow.tracking import MlflowClient

    from .failures import said
    from .progress import SPOOL, RunProgress, Silent

    progress = Silent(request["name"]) if rank else RunProgress(request["name"], MlflowClient(), request["run_id"], work / SPOOL)
    try:
        run_step = load(request["step"], request["threads"], rank)
        metrics = run_step(
            config=request["config"], inputs={label: Path(path) for label, path in request["inputs"].items()}, out=out,
            checkpoints=work / "checkpoints", progress=progress,
        )  # fmt: skip
        reply: dict[str, Any] = {"metrics": metrics}
    except Exception as error:
        reply = {"told": text} if (text := said(error)) else {"raised": traceback.format_exc()}
    if rank:  # the first speaks for all
        return
    scratch = work / f"{REPLY}.unfinished"
    scratch.write_text(json.dumps(reply))
    scratch.replace(work / REPLY)


if __name__ == "__main__":
    prepare()
    main()
