"""Train the judges of `world` from several seeds, and measure them on errors planted in test summaries.

    python -m benchmarks.judges                     # three seeds, two at a time with a thread each
    python -m benchmarks.judges --seeds 4 5 --work ~/judges

For each seed `flows.train_judges` runs in a clone of the last commit. Reports, for every score of a gate
judge and for word overlap, the AUC of telling clean summaries from ones with an error: by type, over all
types that overlap cannot find, and over those that FactCC's training claims make and those that they do not.
The clones stay in `--work`, so that a run goes on where it ended. Written to `benchmarks/results/judges.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.run import ROOT, environment, fresh_clone, processor
from factloop.claims import KINDS
from factloop.corpora.rows import read_rows
from factloop.statistics import auc_interval
from factloop.world.errors import ERROR_TYPES, OVERLAP_FINDS

GROUPS = {
    "all but what overlap finds": [kind for kind in ERROR_TYPES if kind != OVERLAP_FINDS],
    "made": list(KINDS),
    "not made": [kind for kind in ERROR_TYPES if kind not in KINDS],
}
RUNS = """
import flows, json
from mlflow import MlflowClient
client = MlflowClient()
runs = client.search_runs([client.get_experiment_by_name("factloop-world").experiment_id], "attributes.status = 'FINISHED'", max_results=1000)
seconds = {r.data.tags["step"]: float(r.data.tags["seconds"]) for r in runs if "seconds" in r.data.tags}
examined, = [r.info.run_id for r in runs if r.data.tags["step"] == "judge-gate"]
print(json.dumps([seconds, client.download_artifacts(examined, "files/examples.jsonl")]))
"""
AIMS = {
    ("quals", "all but what overlap finds"): 0.92,
    ("qags", "all but what overlap finds"): 0.9,
    ("factcc", "made"): 0.95,
    ("factcc", "not made"): 0.8,
}


def measure(seed: int, clone: Path) -> dict[str, Any]:
    """Seconds by step, and by score and kind of error the AUC with its interval."""
    if not clone.exists():
        fresh_clone(clone)
    overrides = ["--set", f"seed={seed}", "--set", "threads=1"]
    alone = environment() | {"OMP_NUM_THREADS": "1"}
    with (clone.parent / f"{seed}.log").open("a") as log:
        command = [sys.executable, "-m", "flows.train_judges", "--profile", "world", *overrides]
        subprocess.run(command, cwd=clone, env=alone, stdout=log, stderr=log, check=True)
    told = subprocess.run([sys.executable, "-c", RUNS], cwd=clone, env=alone, capture_output=True, text=True, check=True)
    seconds, path = json.loads(told.stdout.strip().splitlines()[-1])
    rows = list(read_rows(Path(path)))
    kinds = {kind: [kind] for kind in ERROR_TYPES} | GROUPS
    return {
        "seconds": seconds,
        "auc": {name: {label: auc(rows, name, some) for label, some in kinds.items()} for name in rows[0]["scores"]},
    }


def auc(rows: list[dict[str, Any]], name: str, kinds: list[str]) -> dict[str, float]:
    """Of a score; one that was not given, for want of evidence, counts as the lowest."""
    least = float("-inf")
    clean, wrong = (
        [least if (score := row["scores"][name]) is None else score for row in rows if row["error"] in some] for some in ([None], kinds)
    )
    return asdict(auc_interval(clean, wrong))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-judges", metavar="FOLDER")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as two:
        seeds = dict(
            zip(options.seeds, two.map(lambda seed: measure(seed, options.work.resolve() / str(seed)), options.seeds), strict=True)
        )
    over: dict[str, dict[str, dict[str, float]]] = {}
    for name, kinds in seeds[options.seeds[0]]["auc"].items():
        each = {kind: [one["auc"][name][kind]["value"] for one in seeds.values()] for kind in kinds}
        over[name] = {kind: {"mean": sum(some) / len(some), "least": min(some), "most": max(some)} for kind, some in each.items()}
    result = {
        "command": " ".join(["python -m benchmarks.judges", *map(str, ["--seeds", *options.seeds])]),
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=options.work / str(options.seeds[0]), capture_output=True, text=True, check=True
        ).stdout.strip(),
        "machine": f"{os.cpu_count()} cores, {processor()}; two seeds at a time, one thread each",
        "over_seeds": over,
        "seeds": seeds,
    }
    path = ROOT / "benchmarks" / "results" / "judges.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")
    for name, kinds in over.items():
        print(
            f"{name:20}",
            *(f"{kind} {found['mean']:.3f} [{found['least']:.3f}, {found['most']:.3f}]" for kind, found in kinds.items()),
            sep="\n    ",
        )
    missed = [
        f"{name} {kind}: {over[name][kind]['least']:.3f} < {aim}" for (name, kind), aim in AIMS.items() if over[name][kind]["least"] < aim
    ]
    print("every seed reaches what is asked" if not missed else f"some seed misses: {', '.join(missed)}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
