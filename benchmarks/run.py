"""Time `make retrain` on fresh clones and keep what it measured.

    make bench                                        # world, smoke, fault: first and second run
    python -m benchmarks.run world --set seed=2       # another seed, in a file of its own
    DATA_MIRROR=~/mirror python -m benchmarks.run news

Each profile gets a clone of the last commit with empty state and this environment; it is run
twice, so that the second time is that of an unchanged rerun. One file a profile in
`benchmarks/results/`, with the command, the machine, the times by the clock and of the cores, and every metric.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tasks.machine import machine

ROOT = Path(__file__).resolve().parent.parent
OWN = ("MLFLOW_", "PREFECT_", "DVC_", "HF_")
# Makes the data of a profile in a clone.
DATA = "import flows\nfrom tasks.data import reproduce\nfrom tasks.profiles import load_profile\nreproduce.fn(load_profile('{profile}'))"
METRICS = """
import flows, json
from mlflow import MlflowClient
client = MlflowClient()
runs = client.search_runs([client.get_experiment_by_name("factloop-{profile}").experiment_id], max_results=1000)
print(json.dumps({{r.data.tags["step"]: {{"seconds": r.data.tags.get("seconds"), "metrics": {{n: v for n, v in r.data.metrics.items() if not n.startswith("train/")}}}}
                  for r in runs}}))
"""


def processor() -> str:
    return machine()["processor"]


def environment() -> dict[str, str]:
    """That of this process, less what points at stores of its own, with this Python first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


def fresh_clone(folder: Path) -> str:
    """A clone of the last commit there; returns which."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    return commit_of(folder)


def commit_of(folder: Path) -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def measure(profile: str, overrides: list[str], keep: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        clone = (keep or Path(scratch) / "clone").resolve()
        commit, variables = fresh_clone(clone), environment()
        command = ["-m", "flows.retrain", "--profile", profile, *(part for override in overrides for part in ("--set", override))]
        seconds, said, busy = [], [], []
        for _ in range(2):
            started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            result = subprocess.run([sys.executable, *command], cwd=clone, env=variables, stdout=subprocess.PIPE, text=True, check=True)
            seconds.append(round(time.perf_counter() - started, 1))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            busy.append(round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1))
            said.append(result.stdout)
            print(result.stdout, flush=True)
        if "nothing changed" not in said[1]:
            raise SystemExit(f"{profile}: the second run did not reuse everything:\n{said[1]}")
        found = subprocess.run(
            [sys.executable, "-c", METRICS.format(profile=profile)], cwd=clone, env=variables, capture_output=True, text=True, check=True
        )
    return {
        "command": f"make bench (python {' '.join(command)}, twice, in a fresh clone)",
        "commit": commit,
        "machine": f"{os.cpu_count()} cores, {processor()}",
        "seconds": {"first": seconds[0], "unchanged": seconds[1]},
        "core seconds": {"first": busy[0], "unchanged": busy[1]},  # what other work beside it does not add to
        "steps": json.loads(found.stdout.strip().splitlines()[-1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles", nargs="*", default=["fault", "smoke", "world"])
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override one field of the profiles")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the clone there and leave it, to look at what was run")
    options = parser.parse_args()
    if options.keep and (options.keep.exists() or len(options.profiles) > 1):
        parser.error("--keep takes one profile and a folder that does not exist yet")
    for profile in options.profiles:
        path = ROOT / "benchmarks" / "results" / f"{'-'.join([profile, *options.set])}.json"
        path.write_text(json.dumps(measure(profile, options.set, options.keep), indent=1, sort_keys=True) + "\n")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
