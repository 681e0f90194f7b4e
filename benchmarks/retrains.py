"""How often the gate promotes a retrain that differs from the champion by its seed alone.

    python -m benchmarks.retrains                                  # 24 retrains of profile smoke, two at a time
    python -m benchmarks.retrains world --seeds 8 --work ~/seeds   # goes on where it ended

In a clone of the last commit the profile is retrained once, judges included; then in that clone and in a copy of it for each
further seed, with the same data and judges. Every model is put before the gate against every other, both ways, by the limits of
`mlflow/gates.yaml` on differences. `promoted` has a 95% interval by resampling seeds. Written to `benchmarks/results/retrains-<profile>.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.run import ROOT, commit_of, environment, fresh_clone, processor
from factloop.corpora.rows import read_rows
from factloop.statistics import compare_examples, decide
from tasks.gates import limits
from tasks.profiles import load_profile

GATED = {"summarizer": "evaluate-summarizer-contrastive", "table-qa": "evaluate-table-qa"}
FOUND = """
import flows, json
from mlflow import MlflowClient
client, found = MlflowClient(), {{}}
experiment = client.get_experiment_by_name("factloop-{profile}")
for run in experiment and client.search_runs([experiment.experiment_id], "tags.step = 'retrain' and attributes.status = 'FINISHED'", max_results=1000) or []:
    steps = json.loads(open(client.download_artifacts(run.info.run_id, "steps.json")).read())["steps"]
    by_name = {{step["name"]: client.download_artifacts(step["run_id"], "files/examples.jsonl") for step in reversed(steps) if step["name"] in {steps}}}  # the champion is evaluated later, by the same name
    found[run.data.params["seed"]] = by_name
print(json.dumps(found))
"""


def python(clone: Path, *arguments: str) -> str:
    """What it prints; what it says besides goes to a log beside the clone."""
    with (clone.parent / f"{clone.name}.log").open("a") as log:
        ran = subprocess.run(
            [sys.executable, *arguments], cwd=clone, env=environment() | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=log,
            text=True, check=True,
        )  # fmt: skip
        log.write(ran.stdout)
    return ran.stdout


def retrained(clone: Path, profile: str, seeds: Sequence[int]) -> dict[str, dict[str, str]]:
    """By seed the examples of the gated models' evaluations; trained where that is not done."""

    def found() -> dict[str, dict[str, str]]:
        code = FOUND.format(profile=profile, steps=list(GATED.values()))
        done: dict[str, dict[str, str]] = json.loads(python(clone, "-c", code).strip().splitlines()[-1])
        return done

    done = found()
    for seed in seeds:
        if str(seed) not in done:
            python(clone, "-m", "flows.retrain", "--profile", profile, "--set", f"seed={seed}", "--set", "threads=1")
    return found()


def share(promoted: dict[tuple[str, str], bool], seeds: list[str]) -> dict[str, float]:
    """Of pairs of different seeds, with its interval: seeds are drawn again, for their pairs are not independent."""
    table = np.array([[promoted.get((one, other), False) for other in seeds] for one in seeds], dtype=float)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(2000):
        chosen = rng.integers(0, len(seeds), len(seeds))
        different = chosen[:, None] != chosen[None, :]
        drawn.append(table[np.ix_(chosen, chosen)][different].mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": round(sum(promoted.values()) / len(promoted), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def gated(profile_name: str, model: str, rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Every seed's model against every other's."""
    gate = limits(load_profile(profile_name), model) | {"absolute": {}}
    asked = {gate["improve"], *gate["not_worse_by"]}
    for row in (row for seed in rows.values() for row in seed):  # the others would take most of the time
        row["scores"] = {name: value for name, value in row["scores"].items() if name in asked}
        for whole in {"bleu", "meteor"} - asked:
            row.pop(f"{whole}_statistics", None)
    differences = {(one, other): compare_examples(rows[one], rows[other]) for one, other in permutations(rows, 2)}

    def promoted(gate: dict[str, Any]) -> dict[str, float]:
        return share({pair: decide({}, gate, found).outcome == "promote" for pair, found in differences.items()}, list(rows))

    of = [found[gate["improve"]] for found in differences.values()]
    return {
        "examples": len(next(iter(rows.values()))),
        "limits": gate,
        "pairs": len(differences),
        "promoted": promoted(gate),
        "promoted by `improve` alone": promoted(gate | {"not_worse_by": {}}),
        "differences between seeds, standard deviation": round(float(np.std([found.value for found in of])), 5),
        "of them by chance of the examples, standard error": round(float(np.mean([(found.high - found.low) / 3.92 for found in of])), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", nargs="?", default="smoke")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-retrains", metavar="FOLDER")
    options = parser.parse_args()
    first, second = (options.work.resolve() / options.profile / name for name in ("first", "second"))
    seeds = range(1, options.seeds + 1)
    if not first.exists():
        fresh_clone(first)
    retrained(first, options.profile, [1])
    if not second.exists():
        shutil.copytree(first, second)
    found: dict[str, dict[str, str]] = {}
    halves = {first: list(seeds[2::2]), second: list(seeds[1::2])}
    with ThreadPoolExecutor(max_workers=2) as two:
        for some in two.map(lambda clone: retrained(clone, options.profile, halves[clone]), halves):
            found |= some
    result = {
        "command": f"python -m benchmarks.retrains {options.profile} --seeds {options.seeds} --work FOLDER",
        "commit": commit_of(first),
        "machine": f"{os.cpu_count()} cores, {processor()}; two retrains at a time, one thread each",
        "seeds": len(found),
        **{
            model: gated(options.profile, model, {seed: list(read_rows(Path(files[step]))) for seed, files in found.items()})
            for model, step in GATED.items()
        },
    }
    path = ROOT / "benchmarks" / "results" / f"retrains-{options.profile}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1), f"\nwrote {path}")


if __name__ == "__main__":
    main()
