"""A Prefect server that lives exactly as long as the run that started it.

Prefect's own ephemeral server outlives a run that is killed, holds its SQLite file, and keeps
the caller's pipes open. This one watches its parent and ends with it, however that ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from .environment import STATE

HOST = "127.0.0.1"
UI = STATE / "prefect-ui.url"  # by `make ui` while it runs: the API that it serves
LOCK = STATE / "prefect-server.lock"  # held by a run while it serves this clone's Prefect itself
# Pages, which nobody can look at, and blocks, for which it would import all collections that there are.
UNUSED = {"PREFECT_SERVER_UI_ENABLED": "false", "PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}
PATIENCE = 120.0  # seconds a slow laptop may take


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


class ServerFailed(RuntimeError):
    """The run's own Prefect server did not come up."""


@contextmanager
def prefect_api() -> Iterator[str]:
    """The address of the API to use: PREFECT_API_URL, the server of `make ui`, or one of our own."""
    pages = UI.read_text() if UI.exists() else None
    given = os.environ.get("PREFECT_API_URL") or (pages if pages and answers(pages) else None)
    if given:
        with _settings(given):
            yield given
        return
    with _alone(), _own() as url, _settings(url):
        yield url


def run_serves() -> bool:
    """Whether a run under way serves this clone's Prefect itself."""
    try:
        with FileLock(LOCK, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def _alone() -> Iterator[None]:
    """Hold this clone's Prefect database: never two servers on one SQLite file."""
    lock = FileLock(LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another run of this clone is under way; this one starts when it ends (with `make ui` both can run)", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _own() -> Iterator[str]:
    log = STATE / "logs" / "prefect-run.log"
    log.parent.mkdir(exist_ok=True)
    # Bound here and handed over, so that no other process takes the port in between.
    with socket.create_server((HOST, 0)) as listening, log.open("w") as stream:
        url = f"http://{HOST}:{listening.getsockname()[1]}/api"
        handle = listening.fileno()
        server = subprocess.Popen(
            [sys.executable, "-m", "tasks.server", str(handle)], pass_fds=[handle], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            env=os.environ | UNUSED,
        )  # fmt: skip
    try:
        started = time.monotonic()
        while not answers(url):
            if server.poll() is not None or time.monotonic() - started > PATIENCE:
                raise ServerFailed(f"the Prefect server did not start within {PATIENCE:.0f} s; see {log}")
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:  # on a busy machine: the run has ended well, and nothing of it is under way there
            server.kill()
            server.wait()


@contextmanager
def _settings(url: str) -> Iterator[None]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        yield


if __name__ == "__main__":
    import uvicorn

    from factloop.lifetime import end_with

    end_with(os.getppid())
    config = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="warning")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
