"""Time `python -m flows.compare` and the listing of runs in a store of many.

    python -m benchmarks.compare_speed                 # 200 parent runs with children
    python -m benchmarks.compare_speed --parents 10

Fills a store of its own, through MLflow's API, with retrains, their children and two evaluations of 300
examples; a new process compares the two, by run id and by model version, and an MLflow server is asked what its pages ask for
to list runs. Written to `benchmarks/results/compare_speed.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from benchmarks.run import ROOT, commit_of, processor
from tests import made
from tests.conftest import Clone
from tests.tracking_server import serve

CHILDREN = ("base", "qagen-gate", "table-qa", "evaluate-table-qa", "summarizer-contrastive", "evaluate-summarizer-contrastive")
EXAMPLES = 300
MOST, MOST_LISTED = 10.0, 3.0  # seconds


def fill(client: MlflowClient, experiment: str, scratch: Path, parents: int) -> None:
    """Retrains with settings, metrics and children; each child has a curve, metrics and a file that says what it depended on."""
    for place in range(parents):
        parent = made.parent(client, experiment, {}, run_key=f"parent-{place}")
        params = [Param(f"summarizer.likelihood.setting{i}", str(place * i)) for i in range(60)]
        client.log_batch(parent, metrics=[Metric(f"summarizer/metric{i}", i / 7, 0, 0) for i in range(40)], params=params)
        for step in CHILDREN:
            tags = {"step": step, "profile": "smoke", "mlflow.parentRunId": parent, "run_key": f"{step}-{place}", "digest": f"{place}"}
            child = client.create_run(experiment, run_name=step, tags=tags).info.run_id
            curve = [Metric("train/loss", 1 / (i + 1), 0, i) for i in range(50)]
            client.log_batch(child, metrics=[*curve, *(Metric(f"metric{i}", i / 7, 0, 0) for i in range(20))], params=params[:20])
            client.log_dict(child, {"step": step, "config": {}, "inputs": {"model": f"{place}"}, "code": "c", "libraries": {}}, "key.json")
            client.set_terminated(child, "FINISHED")


def rows(place: int) -> list[dict[str, Any]]:
    """Examples with as many scores as those of profile world have."""
    found, rng = made.summary_rows(EXAMPLES, 0.1 * place, place), np.random.default_rng(place)
    for row in found:
        row["scores"] |= {f"score{i}": float(rng.normal()) for i in range(9)}
    return found


def timed(clone: Clone, *names: str) -> float:
    started = time.perf_counter()
    result = clone.run("-m", "flows.compare", *names)
    if result.returncode:
        raise SystemExit(result.stderr)
    return round(time.perf_counter() - started, 2)


def seconds_listed(port: int, experiment: str, asked: str) -> float:
    """Until a server has answered what MLflow's page of an experiment asks: its newest 100 runs, with all that they hold."""
    body = {"experiment_ids": [experiment], "filter": asked, "max_results": 100, "order_by": ["attributes.start_time DESC"]}
    request = Request(
        f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/runs/search", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    started = time.perf_counter()
    with urlopen(request, timeout=60) as reply:
        found = json.load(reply)["runs"]
    if len(found) != 100:
        raise SystemExit(f"{len(found)} runs listed, not 100")
    return round(time.perf_counter() - started, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parents", type=int, default=200, help="retrains in the store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        clone = Clone(Path(scratch) / "clone")
        state = clone.folder / ".factloop"
        state.mkdir()
        client = MlflowClient(f"sqlite:///{state}/mlflow.db", f"sqlite:///{state}/mlflow.db")
        experiment = client.create_experiment("factloop-smoke", artifact_location=(state / "artifacts" / "smoke").as_uri())
        made_at = Path(scratch) / "made"
        versions = [made.version(client, experiment, made_at, "smoke-summarizer", weights) for weights in ("old", "new")]
        found = [
            client.get_run(str(client.get_model_version("smoke-summarizer", number).run_id)).data.tags["digest"] for number in versions
        ]
        ids = [made.evaluation(client, experiment, made_at, rows(place), model=model) for place, model in enumerate(found)]
        fill(client, experiment, made_at, options.parents)
        listed = len(client.search_runs([experiment], "tags.step = 'retrain'", max_results=1000))
        result: dict[str, Any] = {
            "command": f"python -m benchmarks.compare_speed --parents {options.parents}",
            "commit": commit_of(ROOT),
            "machine": f"{os.cpu_count()} cores, {processor()}",
            "runs": {"parents": listed, "children": options.parents * len(CHILDREN)},
            "examples": EXAMPLES,
        }
        with serve(state / "mlflow.db") as port:
            pages = {"the UI's list of runs": "", "of retrains alone": "tags.step = 'retrain'"}
            result["seconds of a list"] = {name: seconds_listed(port, experiment, asked) for name, asked in pages.items()}
        result["seconds"] = {
            "compare two runs": timed(clone, *ids),
            "the same again": timed(clone, *ids),
            "compare two versions": timed(clone, *(f"smoke-summarizer/{number}" for number in versions)),
        }
    slowest, listing = max(result["seconds"].values()), max(result["seconds of a list"].values())
    (ROOT / "benchmarks" / "results" / "compare_speed.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    for what, found, most in (("comparison", slowest, MOST), ("list", listing, MOST_LISTED)):
        print(f"slowest {what} {found} s, {'within' if found <= most else 'OVER'} {most:.0f} s")


if __name__ == "__main__":
    main()
