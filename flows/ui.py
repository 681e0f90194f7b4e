"""Serve the MLflow and Prefect pages of this clone on localhost until Ctrl-C.

make ui
python -m flows.ui --mlflow-port 5001 --prefect-port 4201
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from tasks.environment import STATE
from tasks.server import HOST, UI, run_serves


def port_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def end(servers: list[subprocess.Popen[bytes]], patience: float = 20.0) -> None:
    """Ask every server, a process group of its own, to end; after `patience` seconds each, kill it."""
    running = [server for server in servers if server.poll() is None]
    for server in running:
        os.killpg(server.pid, signal.SIGTERM)
    for server in running:
        try:
            server.wait(timeout=patience)
        except subprocess.TimeoutExpired:  # busy, on a loaded machine
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    parser.add_argument("--prefect-port", type=int, default=4200)
    options = parser.parse_args(arguments)
    for name, port in (("mlflow", options.mlflow_port), ("prefect", options.prefect_port)):
        if port_taken(port):
            print(f"ui: port {port} is in use; choose another with --{name}-port", file=sys.stderr)
            return 2
    stop = threading.Event()  # set, not raised, so that no server is left behind, however impatient the caller
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    binaries = Path(sys.executable).parent
    store = os.environ["MLFLOW_TRACKING_URI"]
    commands = [
        [str(binaries / "mlflow"), "server", "--host", HOST, "--port", str(options.mlflow_port), "--workers", "1"]
        + ["--backend-store-uri", store, "--default-artifact-root", (STATE / "artifacts").as_uri()],
    ]
    print(f"MLflow   http://{HOST}:{options.mlflow_port}")
    if run_serves():
        print("Prefect  not now: a run under way has its database; start this again when it has ended")
    else:
        commands.append([str(binaries / "prefect"), "server", "start", "--host", HOST, "--port", str(options.prefect_port)])
        print(f"Prefect  http://{HOST}:{options.prefect_port}")
        UI.write_text(f"http://{HOST}:{options.prefect_port}/api")  # a run started meanwhile uses this server
    print("Ctrl-C ends it", flush=True)
    # Else Prefect's pages ask port 4200, whatever the server's.
    pages = {"PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{options.prefect_port}/api"}
    logs = STATE / "logs"
    logs.mkdir(exist_ok=True)
    servers = []
    for command in commands:
        with (logs / f"{Path(command[0]).name}.log").open("w") as log:
            servers.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=os.environ | pages))
    while not stop.wait(0.5):
        if ended := [server.returncode for server in servers if server.poll() is not None]:
            print(f"ui: a server ended with {ended[0]}; see {logs}", file=sys.stderr)
            break
    UI.unlink(missing_ok=True)
    end(servers)
    return 0 if stop.is_set() else 1


if __name__ == "__main__":
    sys.exit(main())
