"""What contrast gains as references get noisier: the curve over the chance that a reference makes a detail up.

    python -m benchmarks.noise                                      # noise 0, 0.3, 0.6 and 0.9 in three fresh worlds: a day on two cores
    python -m benchmarks.noise --worlds 301 --noise 0 0.9 --work ~/noise

For each level and world `flows.ablate` runs in a clone of the last commit, with the arms of `configs/grids/noise.yaml` and one
seed: the oracle measures, and no judge. The gain is the arm `contrastive` less the reference arm,
which trains as long on all references, with intervals over worlds and examples. At noise 0 there may be nothing to doubt, and no
such arm: the result says so. What is done stays in `--work`. Written to `benchmarks/results/noise.json` and `noise.png`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.run import ROOT
from benchmarks.worlds import Rows, how, in_pairs, prepare, run, values
from factloop.statistics.crossed import nested_mean
from tasks.grids import Grid, load_grid

ARM = "contrastive"


def at_level(found: list[dict[str, Rows]], grid: Grid) -> dict[str, Any]:
    """Of one level of noise, by world the rows of each arm: the means of the arms and the gain."""
    arms = [arm for arm in grid.arms if all(arm in rows for rows in found)]
    told: dict[str, Any] = {
        "arms": {
            arm: {metric: asdict(nested_mean([values(rows[arm], metric) for rows in found])[0]) for metric in grid.metrics} for arm in arms
        }
    }
    if ARM not in arms:
        return told | {
            "gain": None,
            "why": f"{ARM} had nothing to train on, or diverged, in {sum(ARM not in rows for rows in found)} worlds",
        }
    gains = {}
    for metric in grid.metrics:
        estimate, p = nested_mean([values(rows[ARM], metric) - values(rows[grid.reference], metric) for rows in found])
        gains[metric] = {**asdict(estimate), "p": p}
    return told | {"gain": gains}


def plot(levels: dict[float, dict[str, Any]], grid: Grid, path: Path) -> None:
    """A panel for each metric: the gain with its interval over the levels of noise."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(grid.metrics), figsize=(3.6 * len(grid.metrics), 3), squeeze=False)
    for axis, metric in zip(axes.flat, grid.metrics, strict=True):
        points = [(level, told["gain"][metric]) for level, told in levels.items() if told["gain"]]
        low, high = ([abs(found[end] - found["value"]) for _, found in points] for end in ("low", "high"))
        axis.errorbar([level for level, _ in points], [found["value"] for _, found in points], [low, high], marker="o", capsize=3)
        axis.axhline(0, color="#9aa4b1", linewidth=0.8)
        axis.set_title(f"{metric}: {ARM} less {grid.reference}", fontsize=8)
        axis.set_xlabel("chance that a reference makes a detail up", fontsize=8)
        axis.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[301, 302, 303], metavar="SEED")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.3, 0.6, 0.9], metavar="SHARE")
    parser.add_argument("--profile", default="world", help="one of the made-up world (default: world)")
    parser.add_argument("--grid", type=Path, default=ROOT / "configs" / "grids" / "noise.yaml")
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-noise", metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    grid, profile = load_grid(options.grid), options.profile
    folders = {(level, world): options.work.resolve() / f"{world}-noise-{level}" for level in options.noise for world in options.worlds}
    for (level, world), folder in folders.items():
        prepare(world, folder, level, profile)
    command = ["-m", "flows.ablate", "--profile", profile, "--grid", str(options.grid.resolve()), "--seeds", "1"]
    found = in_pairs(folders, lambda folder: run(folder, command, profile))
    levels = {level: at_level([found[level, world][2] for world in options.worlds], grid) for level in options.noise}
    result = {
        **how("noise", folders),
        "profile": profile,
        "worlds": options.worlds,
        "noise": levels,
    }
    (options.out / "noise.json").write_text(json.dumps(result, indent=1) + "\n")
    plot(levels, grid, options.out / "noise.png")
    print(json.dumps(levels, indent=1))


if __name__ == "__main__":
    main()
