"""`make ui` serves both tools' pages on the ports that it is told, and leaves no server behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from flows.ui import end, port_taken
from tasks.server import answers
from tests.conftest import Clone
from tests.tracking_server import free_port

pytestmark = pytest.mark.fault


def test_a_server_that_does_not_end_when_asked_is_killed_and_no_other_is_left() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    polite = "import time; print('up', flush=True); time.sleep(60)"
    servers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) for code in (deaf, polite)]
    for server in servers:
        assert server.stdout and server.stdout.readline() == b"up\n"
    end(servers, patience=0.5)
    assert [server.returncode for server in servers] == [-signal.SIGKILL, -signal.SIGTERM]


def test_pages_on_other_ports_ask_the_servers_that_show_them(clone: Clone) -> None:
    """And a run started meanwhile finds Prefect's address, until the pages end."""
    mlflow, prefect = free_port(), free_port()
    verb = [sys.executable, "-m", "flows.ui", "--mlflow-port", str(mlflow), "--prefect-port", str(prefect)]
    address = f"http://127.0.0.1:{prefect}/api"
    with subprocess.Popen(verb, cwd=clone.folder, env=clone.environment(), stdout=subprocess.PIPE, text=True) as pages:
        try:
            assert pages.stdout and pages.stdout.readline().split() == ["MLflow", f"http://127.0.0.1:{mlflow}"]
            for base in (address, f"http://127.0.0.1:{mlflow}"):
                while not answers(base):
                    assert pages.poll() is None
                    time.sleep(0.2)
            with urllib.request.urlopen(f"http://127.0.0.1:{prefect}/ui-settings", timeout=10) as reply:
                assert json.load(reply)["api_url"] == address
            found = clone.folder / ".factloop" / "prefect-ui.url"
            assert found.read_text() == address
        finally:
            pages.terminate()
    assert pages.returncode == 0 and not found.exists() and not port_taken(mlflow) and not port_taken(prefect)
