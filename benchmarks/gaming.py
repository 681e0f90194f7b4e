"""Does the truth follow the judge? The checkpoints of several methods by the judge that they are trained on, and by the oracle.

    python -m benchmarks.gaming                                   # worlds 221 to 223, two at a time with a thread each
    python -m benchmarks.gaming --worlds 221 222 --work ~/worlds  # in clones that `benchmarks.worlds` has left there

In a clone of the last commit for each world `flows.ablate` trains the arms of `configs/grids/gaming.yaml` with ten evaluations on the way
on 200 validation documents, and the profile's contrast goes four rounds, which here do not end where the score no longer rises. Where judge and
oracle part, training stops: the result says where. Written to `benchmarks/results/gaming.json` and `gaming.png`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.run import ROOT
from benchmarks.worlds import clones_of, how, in_pairs, told
from tasks.grids import load_grid

GRID = ROOT / "configs" / "grids" / "gaming.yaml"
COMMAND = ["-m", "flows.ablate", "--profile", "world", "--grid", str(GRID), "--seeds", "1", "--set", "summarizer.validation.evaluations=10"]
MEASURES = ("score", "hallucination_rate", "fact_recall")
CURVES = """
found = {{}}
for arm in {arms!r}:
    asked = f"tags.step = 'train-{{arm}}-seed-1' and params.contrast.training.steps = '{steps}'"
    runs = client.search_runs([experiment], asked, order_by=["attributes.start_time DESC"])
    if runs:
        curves = {{name: [[point.step, point.value] for point in client.get_metric_history(runs[0].info.run_id, f"train/validation/{{name}}")] for name in {measures!r}}}
        found[arm] = curves | {{"good_step": runs[0].data.metrics.get("good_step")}}
print(json.dumps(found))
"""
TRAIN_ROUNDS = """
import flows
from prefect import flow
from flows.retrain import summary_models
from tasks import base, parent
from tasks.console import Steps
from tasks.data import reproduce
from tasks.judges import find_judge
from tasks.profiles import load_profile
from tasks.server import prefect_api

@flow(name="rounds", validate_parameters=False)
def rounds(profile):
    steps, data = Steps(profile), reproduce(profile)
    with parent.parent_run(profile, data, "rounds") as context:
        start = steps.done(base.train_base(context, profile, data))
        summary_models(context, profile, data, start, {"qagen": steps.done(find_judge(profile, "qagen", "training"))}, steps)

with prefect_api():
    rounds(load_profile("world", ["summarizer.rounds=4", "summarizer.validation.margin=-9"]))
"""
ROUNDS = """
seen = []
for name in ("mle", "contrastive", *(f"contrastive-round-{number}" for number in range(2, 5))):
    asked = f"tags.step = 'validate-summarizer-{name}' and attributes.status = 'FINISHED'"
    seen += client.search_runs([experiment], asked, order_by=["attributes.start_time DESC"], max_results=1)
print(json.dumps([run.data.metrics for run in seen]))
"""


def run(clone: Path) -> dict[str, Any]:
    """By arm, and over rounds, the curve of each measure; and the step that was kept where judge and oracle parted."""
    grid = load_grid(GRID)
    found: dict[str, Any] = told(clone, COMMAND, CURVES.format(arms=list(grid.arms), steps=grid.steps, measures=MEASURES))
    rounds = told(clone, ["-c", TRAIN_ROUNDS], ROUNDS)
    return found | {"rounds": {name: [[number, metrics[name]] for number, metrics in enumerate(rounds)] for name in MEASURES}}


def plot(curves: dict[int, dict[str, Any]], path: Path) -> None:
    """A panel for each arm, a line for each world: the judge's mean score, and what is made up; a ring where training starts."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    arms = [*load_grid(GRID).arms, "rounds"]
    figure, axes = pyplot.subplots(1, len(arms), figsize=(3.2 * len(arms), 3.2), sharey=True)
    for axis, arm in zip(axes, arms, strict=True):
        for number, (world, found) in enumerate(curves.items()):
            if arm in found:
                score, wrong = ([value for _, value in sorted(found[arm][name])] for name in MEASURES[:2])
                axis.plot(score, [100 * value for value in wrong], marker=".", linewidth=1, color=f"C{number}", label=f"world {world}")
                axis.plot(score[0], 100 * wrong[0], marker="o", markersize=9, fillstyle="none", color=f"C{number}")
        axis.set_title(arm, fontsize=9)
        axis.set_xlabel("score of the judge that it is trained on", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("summaries with anything made up, %", fontsize=8)
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[221, 222, 223], metavar="SEED")
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-worlds", metavar="FOLDER")
    options = parser.parse_args()
    clones = clones_of(options.worlds, options.work)
    curves = in_pairs(clones, run)
    result = how("gaming", clones) | {"curves": curves}
    results = ROOT / "benchmarks" / "results"
    (results / "gaming.json").write_text(json.dumps(result) + "\n")
    plot(curves, results / "gaming.png")
    print(f"wrote {results / 'gaming.json'} and gaming.png")


if __name__ == "__main__":
    main()
