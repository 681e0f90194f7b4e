"""The training curve of a run: each point once, whoever was away or killed meanwhile.

A point is kept in a file beside the checkpoints, one JSON object a line, before it is sent; the file goes when the
tracking server has all of it. What is sent is first held against what the server has: a point whose step is not past
the newest of its metric is there already, be it that a response was lost, that a kill struck before the file went, or
that training went on from a checkpoint and came by the same step again.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import Metric
from mlflow.exceptions import RestException
from mlflow.tracking import MlflowClient

import mlflow
from factloop.faults import kill_point

from .tracking import here, remote

SPOOL = "curve.jsonl"  # in a step's work folder
BATCH = 1000  # metrics that MLflow takes at once
EVERY = 1.0  # seconds between two sendings: a point a step would take as long as the steps of a tiny model
PAUSE = 30.0  # seconds before a server that was away is tried again; longer where the try itself took long:
SPARING = 10  # times as long as that


@dataclass
class Silent:
    """That of a process which shares a training that another reports."""

    name: str

    def log(self, metrics: dict[str, float], step: int) -> None:
        pass


@dataclass
class RunProgress:
    """Where a step reports to. Waiting for a server takes at most a tenth of a training's time."""

    name: str
    client: MlflowClient
    run_id: str
    spool: Path
    logged: dict[str, int] = field(default_factory=dict)
    """The newest step that the server has, by metric; looked up when it is first needed."""
    next_send: float = 0.0
    away: bool = False
    """Whether the server did not answer when it was last tried."""

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._keep(metrics, step)
        asked = time.monotonic()
        if asked < self.next_send:
            return
        before, self.away = self.away, not self._sent()
        if before and not self.away:
            print(f"{self.name}: the tracking server is back and has the curve", flush=True)
        if self.away and not before:
            print(f"{self.name}: the tracking server does not answer; training goes on, its curve is kept in {self.spool}", flush=True)
        now = time.monotonic()
        self.next_send = now + (max(PAUSE, SPARING * (now - asked)) if self.away else EVERY)

    def _keep(self, metrics: dict[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        points = [{"key": f"train/{name}", "value": value, "timestamp": now, "step": step} for name, value in metrics.items()]
        with self.spool.open("a") as stream:
            # Each line on a new one: the last may have been cut off by a kill.
            stream.write("".join("\n" + json.dumps(point) for point in points))
            stream.flush()
            os.fsync(stream.fileno())
        kill_point("curve:kept", self.name)

    def _sent(self) -> bool:
        """Whether the server has all that is kept; what it refuses is an error."""
        if not here():
            return False
        try:
            self.send()
        except mlflow.MlflowException as error:
            if isinstance(error, RestException) or not remote():
                raise
            return False
        return True

    def send(self) -> None:
        """Send what is kept and not there yet; MlflowException if the server does not take it."""
        fresh: list[Metric] = []
        newest = dict(self.logged)
        for point in _read(self.spool):
            if point.key not in newest:
                history = self.client.get_metric_history(self.run_id, point.key)
                newest[point.key] = max((logged.step for logged in history), default=-1)
            if point.step > newest[point.key]:
                fresh.append(point)
                newest[point.key] = point.step
        self.logged = {}  # until it has answered there is no telling what it has
        for start in range(0, len(fresh), BATCH):
            self.client.log_batch(self.run_id, metrics=fresh[start : start + BATCH])
        self.logged = newest
        kill_point("curve:sent", self.name)
        self.spool.unlink(missing_ok=True)


def _read(spool: Path) -> list[Metric]:
    """The points that are kept; a line that a kill cut off is left out, for its step is made again."""
    points = []
    for line in spool.read_text().splitlines() if spool.exists() else ():
        try:
            points.append(Metric(**json.loads(line)))
        except ValueError:
            continue
    return points
