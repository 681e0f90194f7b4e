"""What Prefect, MLflow, run keys, gates and reports add to the library's own time.

    python -m benchmarks.orchestration                  # profile smoke, three times
    python -m benchmarks.orchestration --profile world --rounds 1

In a clone of the last commit whose data and MLflow database are made and whose Prefect server is up, `flows.retrain` runs the whole chain; then a process that knows
neither calls the same functions of the library with the same settings on the same inputs, in the same order. Both are timed from the start of
their process to its end. What the library leaves must be the same. Written to `benchmarks/results/orchestration-<profile>.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.run import DATA, ROOT, environment, fresh_clone, processor
from tasks.keys import digest, folder_digests

MOST = {"smoke": (10.0, "seconds"), "world": (0.1, "share")}
SERVER = "import flows, sys\nfrom tasks.server import prefect_api\nwith prefect_api() as url:\n print(url, flush=True)\n sys.stdin.read()"
# What was called with what: every input a file or folder of this machine, by its digest.
CALLS = """
import flows, json
from pathlib import Path
from mlflow import MlflowClient
from tasks.keys import file_digest
client = MlflowClient()
experiment = client.get_experiment_by_name("factloop-{profile}").experiment_id
run, = client.search_runs([experiment], "tags.step = 'retrain'")
steps = json.loads(Path(client.download_artifacts(run.info.run_id, "steps.json")).read_text())["steps"]
paths = {{step["digest"]: step["path"] for step in steps}}
files = [path for folder in ["data/{profile}", *paths.values()] for path in Path(folder).rglob("*.jsonl")]
paths |= {{file_digest(path): str(path.resolve()) for path in files}}
found = []
for step in steps:
    key = json.loads(Path(client.download_artifacts(step["run_id"], "key.json")).read_text())
    inputs = {{label: paths[digest] for label, digest in key["inputs"].items()}}
    found.append({{"name": step["name"], "step": key["step"], "config": key["config"], "inputs": inputs, "made": step["digest"], "seconds": step["seconds"]}})
print(json.dumps(found))
"""
DIRECT = """
import json, sys
from pathlib import Path
from pkgutil import resolve_name
import torch
class Silent:
    def __init__(self, name): self.name = name
    def log(self, metrics, step): pass
for place, call in enumerate(json.load(sys.stdin)):
    config, work = call["config"], Path(sys.argv[1]) / str(place)
    torch.set_num_threads(config.pop("threads"))
    (work / "out").mkdir(parents=True)
    resolve_name(call["step"])(
        config={**config, "device": "cpu"}, inputs={label: Path(path) for label, path in call["inputs"].items()},
        out=work / "out", checkpoints=work / "checkpoints", progress=Silent(config.pop("name")),
    )
"""


def timed(clone: Path, *command: str, text: str = "", **variables: str) -> float:
    started = time.perf_counter()
    ran = subprocess.run([sys.executable, *command], cwd=clone, env=environment() | variables, input=text, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr[-3000:])
    return time.perf_counter() - started


def once(profile: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "clone"
        commit = fresh_clone(clone)
        timed(
            clone,
            "-c",
            DATA.format(profile=profile) + "\nfrom tasks.parent import make_store\nmake_store()",
        )
        with subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=clone, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdin and server.stdout
            flow = timed(clone, "-m", "flows.retrain", "--profile", profile, PREFECT_API_URL=server.stdout.readline().strip())
            server.stdin.close()
        told = subprocess.run(
            [sys.executable, "-c", CALLS.format(profile=profile)], cwd=clone, env=environment(), capture_output=True, text=True, check=True
        )
        calls = json.loads(told.stdout.strip().splitlines()[-1])
        direct = timed(clone, "-c", DIRECT, scratch, text=json.dumps(calls))
        for place, call in enumerate(calls):
            out = Path(scratch) / str(place) / "out"
            if call["made"] not in [digest(folder_digests(folder)) for folder in (out, out / "model") if folder.exists()]:
                raise SystemExit(f"{call['name']}: called directly it leaves something else")
    return {"commit": commit, "steps": len(calls), "flow": flow, "direct": direct, "in steps": sum(call["seconds"] for call in calls)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds = [once(options.profile) for _ in range(options.rounds)]
    added = statistics.median(one["flow"] - one["direct"] for one in rounds)
    share = statistics.median(one["flow"] / one["direct"] - 1 for one in rounds)
    result = {
        "command": " ".join(["python -m benchmarks.orchestration", *sys.argv[1:]]),
        "commit": rounds[0]["commit"],
        "machine": f"{os.cpu_count()} cores, {processor()}",
        "steps": rounds[0]["steps"],
        "seconds": {name: [round(one[name], 1) for one in rounds] for name in ("flow", "direct", "in steps")},
        "added": {"seconds": round(added, 1), "share": round(share, 4)},
    }
    (ROOT / "benchmarks" / "results" / f"orchestration-{options.profile}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    if options.profile in MOST:
        most, unit = MOST[options.profile]
        print(f"{'within' if result['added'][unit] <= most else 'OVER'} {most} ({unit})")


if __name__ == "__main__":
    main()
