"""`make ui` leaves no server behind."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from flows.ui import end

pytestmark = pytest.mark.fault


def test_a_server_that_does_not_end_when_asked_is_killed_and_no_other_is_left() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    polite = "import time; print('up', flush=True); time.sleep(60)"
    servers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) for code in (deaf, polite)]
    for server in servers:
        assert server.stdout and server.stdout.readline() == b"up\n"
    end(servers, patience=0.5)
    assert [server.returncode for server in servers] == [-signal.SIGKILL, -signal.SIGTERM]
