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
from pathlib import Path

from tasks.environment import STATE
from tasks.server import MARK

HOST = "127.0.0.1"


def port_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    parser.add_argument("--prefect-port", type=int, default=4200)
    options = parser.parse_args(arguments)
    for name, port in (("mlflow", options.mlflow_port), ("prefect", options.prefect_port)):
        if port_taken(port):
            print(f"ui: port {port} is in use; choose another with --{name}-port", file=sys.stderr)
            return 2
    binaries = Path(sys.executable).parent
    store = os.environ["MLFLOW_TRACKING_URI"]
    commands = [
        [str(binaries / "mlflow"), "server", "--host", HOST, "--port", str(options.mlflow_port), "--workers", "1"]
        + ["--backend-store-uri", store, "--default-artifact-root", (STATE / "artifacts").as_uri()],
        [str(binaries / "prefect"), "server", "start", "--host", HOST, "--port", str(options.prefect_port)],
    ]
    print(f"MLflow   http://{HOST}:{options.mlflow_port}\nPrefect  http://{HOST}:{options.prefect_port}\nCtrl-C ends both")
    logs = STATE / "logs"
    logs.mkdir(exist_ok=True)
    servers = []
    for command in commands:
        with (logs / f"{Path(command[0]).name}.log").open("w") as log:
            servers.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True))
    if options.prefect_port == 4200:
        MARK.write_text(str(os.getpid()))  # a run started meanwhile uses this server
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        for server in servers:
            if code := server.wait():
                print(f"ui: a server ended with {code}; see {logs}", file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        pass
    finally:
        for impatient in (signal.SIGTERM, signal.SIGINT):  # a second one must not leave a server behind
            signal.signal(impatient, signal.SIG_IGN)
        MARK.unlink(missing_ok=True)
        for server in servers:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
                server.wait(timeout=20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
