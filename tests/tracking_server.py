"""A real tracking server, and a proxy before it that goes away and loses responses."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.request import urlopen

HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "accept-encoding")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serve(database: Path) -> Iterator[int]:
    """`mlflow server` on an SQLite file, as a process of its own; its port."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{database}", "--default-artifact-root", (database.parent / "default").as_uri()]
    log = database.with_suffix(".log")
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, start_new_session=True)
    try:
        until = time.monotonic() + 300  # a machine may be busy
        while not _answers(port):
            assert server.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except OSError:
        return False


class Proxy:
    """Hands every request on. `loses` says of which the response is lost: the server has done what it asked, nobody is told."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.kept = socket.socket()  # bound for good and never listening: else another connection may take the port while this is down
        self.kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.kept.bind(("127.0.0.1", 0))
        self.port: int = self.kept.getsockname()[1]
        self.loses: Callable[[str, str, bytes], bool] = lambda method, path, body: False
        self.handed: list[tuple[str, str, bytes]] = []
        self.lock = Lock()
        self.listening: ThreadingHTTPServer | None = None
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):  # of HTTP/1.0: each request has a connection of its own
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = self.path.partition("?")[0].rpartition("/mlflow/")[2]
                with proxy.lock:
                    proxy.handed.append((self.command, path, body))
                    lost = proxy.loses(self.command, path, body)
                connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                connection.request(self.command, self.path, body, headers)
                reply = connection.getresponse()
                content = reply.read()
                connection.close()
                if lost:
                    return
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self.listening = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        Thread(target=self.listening.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Refuse all connections, as a server that has ended does."""
        if self.listening:
            self.listening.shutdown()
            self.listening.server_close()
            self.listening = None
