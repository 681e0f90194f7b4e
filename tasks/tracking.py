"""The tracking server: it may be away, and what it answers may be lost on the way.

MLflow's client sends a request again when the response is lost, so what it asks to be made may be made twice. Each
run that is begun carries a word of its own, by which a twin is told from what another process began.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

import mlflow
from factloop.faults import kill_point

PATIENCE = 300.0  # seconds: a server is started again in less
CREATION = "creation"  # tag of a run: the same on all that one request made


class TrackingAway(RuntimeError):
    """The tracking server has not answered for longer than is worth waiting."""


def remote() -> bool:
    """Whether there is a tracking server, and not a database in a file."""
    return mlflow.get_tracking_uri().startswith("http")


def here() -> bool:
    """Whether the tracking server answers; a database in a file always does."""
    if not remote():
        return True
    asked = get_default_host_creds(mlflow.get_tracking_uri())
    try:  # as MLflow's client does: with its credentials, certificates and proxies
        reply = http_request(asked, "/health", "GET", max_retries=0, timeout=3, raise_on_status=False)
    except mlflow.MlflowException:
        return False
    return bool(reply.status_code < 500)


def away(seconds: float) -> str:
    """What a person is told of a server that did not answer for so long, without the password that an address may hold."""
    found = urlsplit(mlflow.get_tracking_uri())
    address = f"{found.scheme}://{found.netloc.rpartition('@')[2]}"
    waited = f" for {seconds:.0f} s" if seconds else ""
    return (
        f"the tracking server {address} does not answer{waited}; start it again, or name another in MLFLOW_TRACKING_URI,"
        " and start this again: it goes on where it was"
    )


def wait(what: str) -> None:
    """Wait for a tracking server that is away; raises TrackingAway if it does not come back in time."""
    if here():
        return
    print(f"{what}: the tracking server does not answer; waiting for it for up to {PATIENCE:.0f} s", flush=True)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        time.sleep(min(2.0, PATIENCE / 10))
        if here():
            return
    raise TrackingAway(f"{what}: {away(PATIENCE)}")


def begin(client: MlflowClient, earlier: Run | None, experiment: str, name: str, tags: Mapping[str, str]) -> Run:
    """The earlier run if there is one, else a new one; a twin that a lost response left of it is deleted."""
    run = earlier or client.create_run(experiment, run_name=name, tags={**tags, CREATION: uuid.uuid4().hex})
    kill_point("run:begun", name)
    # Of a database in a file no response is lost.
    if remote() and (creation := run.data.tags.get(CREATION)):
        for twin in client.search_runs([experiment], f"tags.{CREATION} = '{creation}'"):
            if twin.info.run_id != run.info.run_id:
                client.delete_run(twin.info.run_id)
    return run


def children(client: MlflowClient, experiment: str, parent: str) -> list[Run]:
    """The runs under a parent run in the order in which they were begun, unfinished ones too."""
    asked = f"tags.`mlflow.parentRunId` = '{parent}'"
    return list(client.search_runs([experiment], asked, order_by=["attributes.start_time ASC"], max_results=1000))


@contextmanager
def deleting() -> Iterator[None]:
    """A deletion whose response was lost is sent again: that there is nothing left to delete is no error."""
    try:
        yield
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def end(client: MlflowClient, run_id: str, status: str, error: BaseException) -> None:
    """Leave in a run that it ended badly. With the server away it stays as a kill leaves it, and is taken up all the same."""
    if not here():
        return
    if status == "FAILED":
        client.set_tag(run_id, "error", f"{type(error).__name__}: {error}"[:5000])
    client.set_terminated(run_id, status)
