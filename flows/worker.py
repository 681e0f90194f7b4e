"""Start a worker of this machine: it runs what the deployments of prefect.yaml schedule.

    make ui                                # somewhere: the Prefect server, here on this machine
    make worker                            # applies prefect.yaml, then works until Ctrl-C
    PREFECT_API_URL=https://prefect.example.org/api python -m flows.worker --name gpu-7 --slots 2
    python -m flows.worker --type docker   # each run in a container of its own: docs/team.md

A worker is named after its machine and does one run at a time (`--slots`); where one machine has several GPUs,
start one worker for each with its own CUDA_VISIBLE_DEVICES and name.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from flows.deployed import SLOT
from tasks.environment import ROOT
from tasks.server import UI, answers

POOL = "gpu"
HEARTBEAT = 60  # seconds between the signs of life of a run
STUCK = "runs that give no sign of life are crashed"


def set_up(kind: str, slot: str, slots: int) -> str:
    """Work pool, concurrency limit and the automation for runs whose process died, each made where there is none; the pool's type."""
    from prefect.automations import Automation
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            template = {} if kind == "process" else json.loads((ROOT / "deploy" / f"{kind}-job.json").read_text())
            client.create_work_pool(WorkPoolCreate(name=POOL, type=kind, base_job_template=template))
        found = client.read_work_pool(POOL).type
        client.upsert_global_concurrency_limit_by_name(slot, slots)
        if client.read_automations_by_name(STUCK):
            return found
    ends = {f"prefect.flow-run.{state}" for state in ("heartbeat", "Completed", "Failed", "Cancelled", "Crashed")}
    Automation(
        name=STUCK,
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"}, expect=ends, posture=Posture.Proactive, threshold=1,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"}, within=timedelta(seconds=3 * HEARTBEAT),
        ),
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message="no sign of life: its process died", force=False)],
    ).create()  # fmt: skip
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default=socket.gethostname())
    parser.add_argument("--slots", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument(
        "--type", choices=("process", "docker", "kubernetes"), default="process", help="what each run is (default: process)"
    )
    parser.add_argument("--keep-deployments", action="store_true", help="do not apply prefect.yaml")
    options = parser.parse_args(arguments)
    if options.slots < 1:
        parser.error("--slots must be at least 1")
    api = os.environ.get("PREFECT_API_URL") or (UI.read_text() if UI.exists() else "")
    if not api or not answers(api):
        where = f"{api} does not answer" if api else "there is no Prefect server"
        print(f"worker: {where}: start `make ui` first, or set PREFECT_API_URL to your team's", file=sys.stderr)
        return 2
    slot = f"factloop-{options.name}"
    os.environ |= {
        "PREFECT_API_URL": api, SLOT: slot, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }  # fmt: skip
    if (found := set_up(options.type, slot, options.slots)) != options.type:
        print(f"worker: work pool {POOL} is of type {found}, not {options.type}: give --type {found}, or delete that pool", file=sys.stderr)
        return 2
    prefect = str(Path(sys.executable).parent / "prefect")
    if not options.keep_deployments and (code := os.spawnl(os.P_WAIT, prefect, prefect, "--no-prompt", "deploy", "--all")):
        return code
    # In place of this process, so that Ctrl-C and a supervisor's signals reach it.
    return os.execl(prefect, prefect, "worker", "start", "--pool", POOL, "--type", options.type, "--name", options.name)


if __name__ == "__main__":
    sys.exit(main())
