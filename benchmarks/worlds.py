"""Judges and methods on fresh worlds, each with documents, judges, models and seeds of its own.

    python -m benchmarks.worlds                          # worlds 221 to 225, two at a time with a thread each
    python -m benchmarks.worlds --judges                 # the judges that measure, and no method
    python -m benchmarks.worlds --oracle                 # the methods by what needs no judge, and none that measures
    python -m benchmarks.worlds --worlds 301 302 303 --work ~/worlds

In a clone of the last commit for each world `flows.train_judges` trains the judges that measure and examines them on planted errors, and
`flows.ablate` trains the arms of `configs/grids/methods.yaml` from one MLE model, with each of `--seeds`, and measures them on test
documents by the oracle and the gate judges. Reports for each score of a gate judge and for word overlap the AUC of telling clean summaries from ones
with an error, by type; and for each arm the metrics, and how they differ from the reference arm and from every other, with
intervals over worlds and examples; of each example the mean over the seeds counts. What is done stays in `--work`, so that a run goes on where it ended.
Exits with 1 where a judge falls short of `ASKED` in any of the worlds. Written to `benchmarks/results/worlds.json`, `worlds-judges.json` or `worlds-oracle.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, TypeVar

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
# Of each world, at least: the mean over pairs and QAGS on all that overlap cannot find, FactCC by whether its claims make the errors.
ASKED = {
    ("quals", "all but what overlap finds"): 0.92,
    ("qags", "all but what overlap finds"): 0.90,
    ("factcc", "made"): 0.95,
    ("factcc", "not made"): 0.80,
}
UNJUDGED = ("hallucination_rate", "fact_recall", "rouge1", "rouge2", "rougeL")
METRICS = (*UNJUDGED, "quals", "qags", "factcc")
STORE = """
import flows, json
from mlflow import MlflowClient
client = MlflowClient()
experiment = client.get_experiment_by_name("factloop-world").experiment_id
"""
RUNS = """
done = lambda step: client.search_runs([experiment], f"tags.step = '{step}' and attributes.status = 'FINISHED'", order_by=["attributes.end_time DESC"])
examples = lambda run: client.download_artifacts(run, "files/examples.jsonl")
runs = client.search_runs([experiment], "attributes.status = 'FINISHED'", max_results=1000)
# Of several ablations that which has just ended: a clone may have others, whose arms have the same names.
arms = {} if not done("ablate") else json.load(open(client.download_artifacts(done("ablate")[0].info.run_id, "ablation/ablation.json")))["runs"]
print(json.dumps([{r.data.tags["step"]: float(r.data.tags["seconds"]) for r in runs if "seconds" in r.data.tags},
                  [examples(run.info.run_id) for run in done("judge-gate")[:1]], {arm: [examples(one) for one in of] for arm, of in arms.items()}]))
"""
JUDGES = ["-m", "flows.train_judges", "--profile", "world", "--role", "gate"]
METHODS = ["-m", "flows.ablate", "--profile", "world"]
Rows = list[dict[str, Any]]
Arms = dict[str, list[Rows]]
"""By arm the test examples, of each seed."""
Key = TypeVar("Key")
Found = TypeVar("Found")


def prepare(world: int, clone: Path, fill_in: float | None = None) -> None:
    """A clone whose profile is of this world, at the profile's level of noise or another."""
    if not clone.exists():
        fresh_clone(clone)
    path = clone / "configs" / "world.yaml"
    profile = yaml.safe_load(path.read_text())
    profile |= {"seed": world, "threads": 1, "meteor": False, "test_examples": 600}
    profile["data"]["source"].pop("fill_in", None)
    profile["data"]["source"] |= {"seed": world} | ({} if fill_in is None else {"fill_in": fill_in})
    path.write_text(yaml.safe_dump(profile))


def clones_of(worlds: Sequence[int], work: Path) -> dict[int, Path]:
    """A clone for each world, made where there is none."""
    work.mkdir(parents=True, exist_ok=True)
    clones = {world: work.resolve() / str(world) for world in worlds}
    for world, clone in clones.items():
        prepare(world, clone)
    return clones


def told(clone: Path, command: list[str], ask: str) -> Any:
    """Run a verb in a clone, with one thread and a log beside it; what the code `ask`, which has `client` and `experiment`, prints there as JSON."""
    alone = environment() | {"OMP_NUM_THREADS": "1"}
    with (clone.parent / f"{clone.name}.log").open("a") as log:
        subprocess.run([sys.executable, *command], cwd=clone, env=alone, stdout=log, stderr=log, check=True)
    printed = subprocess.run([sys.executable, "-c", STORE + ask], cwd=clone, env=alone, capture_output=True, text=True, check=True).stdout
    return json.loads(printed.strip().splitlines()[-1])


def in_pairs(clones: Mapping[Key, Path], what: Callable[[Path], Found]) -> dict[Key, Found]:
    """Of each clone what `what` finds in it, two at a time."""
    with ThreadPoolExecutor(max_workers=2) as two:
        return dict(zip(clones, two.map(what, clones.values()), strict=True))


def how(name: str, clones: Mapping[Any, Path]) -> dict[str, str]:
    """The command as anybody would type it, the commit and the machine, which each result begins with."""
    typed = ["FOLDER" if before == "--work" else word for before, word in pairwise(sys.argv)]
    return {
        "command": " ".join([f"python -m benchmarks.{name}", *typed]),
        "commit": commit_of(next(iter(clones.values()))),
        "machine": f"{os.cpu_count()} cores, {processor()}; two worlds at a time, one thread each",
    }


def run(clone: Path, command: list[str]) -> tuple[dict[str, float], Rows, Arms]:
    """Seconds by step, the planted examples with their scores (none where no judge that measures was trained), and by arm the test examples."""
    seconds, planted, arms = told(clone, command, RUNS)
    rows = [row for path in planted for row in read_rows(Path(path))]
    return seconds, rows, {arm: [list(read_rows(Path(path))) for path in paths] for arm, paths in arms.items()}


def auc(rows: Rows, name: str, kinds: list[str]) -> dict[str, float]:
    """Of a score; one that was not given, for want of evidence, counts as the lowest."""
    least = float("-inf")
    clean, wrong = (
        [least if (score := row["scores"][name]) is None else score for row in rows if row["error"] in some] for some in ([None], kinds)
    )
    return asdict(auc_interval(clean, wrong))


def values(seeds: list[Rows], metric: str) -> Any:
    """Of each example the mean over the seeds."""
    return np.array([[row["scores"][metric] for row in rows] for rows in seeds], dtype=float).mean(axis=0)


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
    held = {f"{name}, {label}: {asked}": over[name][label]["least"] >= asked for (name, label), asked in ASKED.items()}
    return {"held": held, "judges": over, "judges by world": aucs}


def compared(arms: dict[int, Arms], metrics: tuple[str, ...]) -> dict[str, Any]:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[221, 222, 223, 224, 225], metavar="SEED")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], metavar="SEED", help="of each method's training (default: 1)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--judges", action="store_true", help="train and examine the judges that measure, and no method")
    only.add_argument("--oracle", action="store_true", help="measure the methods by what needs no judge, and train none that measures")
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-worlds", metavar="FOLDER")
    options = parser.parse_args()
    clones = clones_of(options.worlds, options.work)
    metrics = UNJUDGED if options.oracle else METRICS
    methods = [*METHODS, "--seeds", *map(str, options.seeds), "--metrics", *metrics]
    for command in [JUDGES] * (not options.oracle) + [methods] * (not options.judges):
        found = in_pairs(clones, partial(run, command=command))
    result = {
        **how("worlds", clones),
        "worlds": options.worlds,
        **({} if options.oracle else judged({world: rows for world, (_, rows, _) in found.items()})),
        **({} if options.judges else {"methods": compared({world: arms for world, (_, _, arms) in found.items()}, metrics)}),
        "seconds": {world: seconds for world, (seconds, _, _) in found.items()},
    }
    suffix = "-judges" if options.judges else "-oracle" if options.oracle else ""
    path = ROOT / "benchmarks" / "results" / f"worlds{suffix}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")
    return 0 if all(result.get("held", {}).values()) else 1


if __name__ == "__main__":
    sys.exit(main())
