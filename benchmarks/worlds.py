"""Judges and methods on fresh worlds, each with documents, judges, models and seeds of its own.

    python -m benchmarks.worlds                          # worlds 221 to 225, two at a time with a thread each
    python -m benchmarks.worlds --judges                 # the judges that measure, and no method
    python -m benchmarks.worlds --oracle                 # the methods by what needs no judge, and none that measures
    python -m benchmarks.worlds --worlds 301 302 303 --work ~/worlds

In a clone of the last commit for each world `flows.train_judges` trains the judges that measure and examines them on planted errors, and
`flows.ablate` trains the arms of `configs/grids/methods.yaml` once each from one MLE model and measures them on test
documents by the oracle and the gate judges. Reports for each score of a gate judge and for word overlap the AUC of telling clean summaries from ones
with an error, by type; and for each arm the metrics, and how they differ from the reference arm and from every other, with
intervals over worlds and examples. What is done stays in `--work`, so that a run goes on where it ended.
Written to `benchmarks/results/worlds.json`, `worlds-judges.json` or `worlds-oracle.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.run import ROOT, commit_of, environment, fresh_clone, processor
from factloop.claims import KINDS
from factloop.corpora.rows import read_rows
from factloop.statistics import auc_interval
from factloop.statistics.crossed import nested_mean
from factloop.world.errors import ERROR_TYPES, OVERLAP_FINDS

GROUPS = {
    "all but what overlap finds": [kind for kind in ERROR_TYPES if kind != OVERLAP_FINDS],
    "made": list(KINDS),  # that FactCC's training claims have
    "not made": [kind for kind in ERROR_TYPES if kind not in KINDS],
}
UNJUDGED = ("hallucination_rate", "fact_recall", "rouge1", "rouge2", "rougeL")
METRICS = (*UNJUDGED, "quals", "qags", "factcc")
RUNS = """
import flows, json
from mlflow import MlflowClient
client = MlflowClient()
experiment = client.get_experiment_by_name("factloop-{profile}").experiment_id
runs = client.search_runs([experiment], "attributes.status = 'FINISHED'", 1, 1000, ["attributes.start_time ASC"])  # the newest of a step counts
wanted = [r for r in runs if r.data.tags["step"].startswith(("evaluate-", "judge-gate"))]
print(json.dumps([{{r.data.tags["step"]: float(r.data.tags["seconds"]) for r in runs if "seconds" in r.data.tags}},
                  {{r.data.tags["step"]: client.download_artifacts(r.info.run_id, "files/examples.jsonl") for r in wanted}}]))
"""
JUDGES = ["-m", "flows.train_judges", "--profile", "world", "--role", "gate"]
METHODS = ["-m", "flows.ablate", "--profile", "world", "--seeds", "1", "--metrics"]
Rows = list[dict[str, Any]]


def prepare(world: int, clone: Path, fill_in: float | None, profile_name: str = "world") -> None:
    if not clone.exists():
        fresh_clone(clone)
    path = clone / "configs" / f"{profile_name}.yaml"
    profile = yaml.safe_load(path.read_text())
    profile |= {"seed": world, "threads": 1, "meteor": False, "test_examples": 600}
    profile["data"]["source"] |= {"seed": world} | ({} if fill_in is None else {"fill_in": fill_in})
    path.write_text(yaml.safe_dump(profile))


def run(clone: Path, command: list[str], profile: str = "world") -> tuple[dict[str, float], Rows, dict[str, Rows]]:
    """Seconds by step, the planted examples with their scores (none where no judge that measures was trained), and by arm the test examples."""
    alone = environment() | {"OMP_NUM_THREADS": "1"}
    with (clone.parent / f"{clone.name}.log").open("a") as log:
        subprocess.run([sys.executable, *command], cwd=clone, env=alone, stdout=log, stderr=log, check=True)
    told = subprocess.run(
        [sys.executable, "-c", RUNS.format(profile=profile)], cwd=clone, env=alone, capture_output=True, text=True, check=True
    )
    seconds, files = json.loads(told.stdout.strip().splitlines()[-1])
    found = {step: list(read_rows(Path(path))) for step, path in files.items()}
    planted = found.pop("judge-gate", [])
    return seconds, planted, {re.sub(r"^evaluate-|-seed-\d+$", "", step): rows for step, rows in found.items()}


def auc(rows: Rows, name: str, kinds: list[str]) -> dict[str, float]:
    """Of a score; one that was not given, for want of evidence, counts as the lowest."""
    least = float("-inf")
    clean, wrong = (
        [least if (score := row["scores"][name]) is None else score for row in rows if row["error"] in some] for some in ([None], kinds)
    )
    return asdict(auc_interval(clean, wrong))


def values(rows: Rows, metric: str) -> Any:
    return np.array([row["scores"][metric] for row in rows], dtype=float)


def judged(planted: dict[int, Rows]) -> dict[str, Any]:
    """By score and kind of error the AUC of each world's judge, and over the worlds."""
    kinds = {kind: [kind] for kind in ERROR_TYPES} | GROUPS
    aucs = {
        world: {name: {label: auc(rows, name, some) for label, some in kinds.items()} for name in rows[0]["scores"]}
        for world, rows in planted.items()
    }
    first = next(iter(aucs.values()))
    over = {
        name: {
            label: {"mean": sum(some) / len(some), "least": min(some), "most": max(some)}
            for label in of
            for some in [[one[name][label]["value"] for one in aucs.values()]]
        }
        for name, of in first.items()
    }
    return {"judges": over, "judges by world": aucs}


def compared(arms: dict[int, dict[str, Rows]], metrics: tuple[str, ...]) -> dict[str, Any]:
    """By arm each metric, and by pair of arms its difference, with intervals over worlds and examples."""
    names = [name for name in next(iter(arms.values())) if all(name in found for found in arms.values())]
    table = {
        name: {metric: asdict(nested_mean([values(found[name], metric) for found in arms.values()])[0]) for metric in metrics}
        for name in names
    }
    differences: dict[str, Any] = {}
    for one, other in combinations(reversed(names), 2):
        for metric in metrics:
            pairs = [values(found[one], metric) - values(found[other], metric) for found in arms.values()]
            estimate, p = nested_mean(pairs)
            differences.setdefault(f"{one} less {other}", {})[metric] = {**asdict(estimate), "p": p}
    return {"arms": table, "differences": differences}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[221, 222, 223, 224, 225], metavar="SEED")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--judges", action="store_true", help="train and examine the judges that measure, and no method")
    only.add_argument("--oracle", action="store_true", help="measure the methods by what needs no judge, and train none that measures")
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-worlds", metavar="FOLDER")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    folders = {world: options.work.resolve() / str(world) for world in options.worlds}
    for world, folder in folders.items():
        prepare(world, folder, None)
    metrics = UNJUDGED if options.oracle else METRICS
    for command in [JUDGES] * (not options.oracle) + [[*METHODS, *metrics]] * (not options.judges):
        with ThreadPoolExecutor(max_workers=2) as two:
            found = dict(zip(folders, two.map(lambda folder, command=command: run(folder, command), folders.values()), strict=True))
    result = {
        "command": " ".join(["python -m benchmarks.worlds", *sys.argv[1:]]),
        "commit": commit_of(next(iter(folders.values()))),
        "machine": f"{os.cpu_count()} cores, {processor()}; two worlds at a time, one thread each",
        "worlds": options.worlds,
        **({} if options.oracle else judged({world: rows for world, (_, rows, _) in found.items()})),
        **({} if options.judges else {"methods": compared({world: arms for world, (_, _, arms) in found.items()}, metrics)}),
        "seconds": {world: seconds for world, (seconds, _, _) in found.items()},
    }
    suffix = "-judges" if options.judges else "-oracle" if options.oracle else ""
    path = ROOT / "benchmarks" / "results" / f"worlds{suffix}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
