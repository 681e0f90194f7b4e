"""Kill real runs at random moments, rerun them, and compare with a run that was never killed.

    make faults                                       # 50 kills of profile smoke, about half an hour
    python -m benchmarks.faults --kills 25 --seed 2   # others, in a file of their own
    python -m benchmarks.faults --kills 4 --profile fault

Ten fresh clones, each killed five times in a row, so that most kills strike the recovery of the
one before. A kill takes the whole process group by SIGKILL: flow, data stages, Prefect server.
After each, nothing may be partial under its final name, double, or promoted before it is whole;
after the last of a clone, a run must end with the metrics, digests, versions and aliases of the
undisturbed one. Everything is kept in `benchmarks/results/faults-<profile>.json` as it happens; started
again with the same settings on the same commit, it goes on after the last whole clone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.run import ROOT, commit_of, processor
from tests.conftest import Clone
from tests.soundness import data_digests, flaws, outcome, under_way

CHAIN = 5  # kills a clone


@dataclass
class Ended:
    """How a run ended: `code` is None where it was killed."""

    code: int | None
    seconds: float
    said: str


def run(clone: Clone, profile: str, kill_after: float | None = None) -> Ended:
    log = clone.folder / ".run.log"
    with log.open("w") as stream:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.retrain", "--profile", profile],
            cwd=clone.folder, env=clone.environment(), stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
        try:
            code: int | None = process.wait(timeout=kill_after)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Ended(code, round(time.perf_counter() - started, 1), log.read_text())


def account(said: str) -> dict[str, Any]:
    """What a run said of the steps that it found."""
    lines = said.splitlines()
    return {
        "reused": sum(line.rstrip().endswith(" reused") for line in lines),
        "goes on": [line for line in lines if "goes on from step" in line],
        "notes": [line for line in lines if "damaged" in line or "restored" in line],
    }


def differences(found: Any, expected: Any, name: str = "") -> list[str]:
    """Where two outcomes differ, by the path of keys that leads there, with both values."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted(found.keys() | expected.keys())
        return [line for key in keys for line in differences(found.get(key), expected.get(key), f"{name}/{key}")]
    return [] if found == expected else [f"{name}: {str(found)[:200]}, undisturbed {str(expected)[:200]}"]


def chain(seed: str, kills: int, profile: str, calm: dict[str, Any], seconds: float, folder: Path) -> dict[str, Any]:
    """Kill one clone `kills` times, then let it end."""
    clone, rng = Clone(folder), random.Random(seed)
    log: list[dict[str, Any]] = []
    wrong: list[str] = []
    while len(log) < kills and not wrong:
        longest = seconds
        while (ended := run(clone, profile, rng.uniform(0.5, longest))).code == 0:
            longest = ended.seconds  # it had ended before the moment came: an earlier one
        if log:
            log[-1]["next run"] = account(ended.said)
        if ended.code is not None:
            wrong = [f"the run after it ended with {ended.code}: {ended.said[-1500:]}"]
            break
        found = list(flaws(clone.folder, profile, calm["data"]))
        log.append({"seconds": ended.seconds, "under way": under_way(clone.folder, profile), "flaws": found, "passed": not found})
        print(f"  killed after {ended.seconds:5.1f} s in {log[-1]['under way']}: {found or 'sound'}", flush=True)
    if not wrong:
        last = run(clone, profile)
        log[-1]["next run"] = account(last.said)
        if last.code:
            wrong = [f"the last run ended with {last.code}: {last.said[-1500:]}"]
        else:
            ending = outcome(clone.folder, profile)
            wrong = [*flaws(clone.folder, profile, calm["data"]), *differences(ending, calm)]
    if wrong and log:
        log[-1] |= {"passed": False, "flaws": log[-1]["flaws"] + wrong}
    print(f"  ended: {wrong or 'as if never killed'}", flush=True)
    return {"seed": seed, "kills": log, "as if never killed": not wrong, "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--profile", default="smoke")
    options = parser.parse_args()
    of = options.profile + (f"-seed={options.seed}" if options.seed != 1 else "")
    path = ROOT / "benchmarks" / "results" / f"faults-{of}.json"
    commit = commit_of(ROOT)
    same = vars(options) | {"commit": commit}
    result: dict[str, Any] = same | {"machine": f"{os.cpu_count()} cores, {processor()}", "chains": []}
    if path.exists() and same.items() <= (before := json.loads(path.read_text())).items():
        result = before
    with tempfile.TemporaryDirectory() as scratch:
        undisturbed = Clone(Path(scratch) / "calm")
        ended = run(undisturbed, options.profile)
        if ended.code:
            print(f"the undisturbed run ended with {ended.code}:\n{ended.said[-3000:]}", file=sys.stderr)
            return 1
        calm = outcome(undisturbed.folder, options.profile) | {"data": data_digests(undisturbed.folder, options.profile)}
        print(f"undisturbed: {ended.seconds} s", flush=True)
        for number, first in enumerate(range(0, options.kills, CHAIN), 1):
            if number <= len(result["chains"]):
                continue
            print(f"clone {number}:", flush=True)
            kills = min(CHAIN, options.kills - first)
            folder = Path(scratch) / f"clone-{number}"
            result["chains"].append(chain(f"{options.seed}/{number}", kills, options.profile, calm, ended.seconds, folder))
            done = [kill for one in result["chains"] for kill in one["kills"]]
            result |= {"passed": sum(kill["passed"] for kill in done), "killed": len(done)}
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(result, indent=1) + "\n")
            unfinished.replace(path)
    print(f"{result['passed']} of {options.kills} kills passed; wrote {path}")
    return 0 if result["passed"] == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
