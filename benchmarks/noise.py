"""What contrast gains as references get noisier: the curve over the chance that a reference makes a detail up.

    python -m benchmarks.noise                                              # three fresh worlds, two at a time with a thread each
    python -m benchmarks.noise --worlds 221 --noise 0.6 0.9 --work ~/worlds  # in clones that `benchmarks.worlds` has left there

In a clone of the last commit for each world the data are made with one level of noise after the other, and at each `flows.ablate` trains the
arms of `configs/grids/noise.yaml` with one seed; the oracle measures, and no judge. The judge that chooses is trained once a world and then
stays, as in any retraining: it learns from questions about passages, which have no references, and starts from a base denoised at the first level.
Reports for each level what `benchmarks.worlds` does of methods. An arm that had nothing to train on in some world (at noise 0 there may be nothing
to doubt) is left out there, and named. What is done stays in `--work`. Written to `benchmarks/results/noise.json` and `noise.png`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.run import ROOT
from benchmarks.worlds import Arms, clones_of, compared, how, in_pairs, prepare, run
from tasks.grids import Grid, load_grid

GRID = ROOT / "configs" / "grids" / "noise.yaml"
COMMAND = ["-m", "flows.ablate", "--profile", "world", "--grid", str(GRID), "--seeds", "1"]


def at_level(found: dict[int, Arms], grid: Grid) -> dict[str, Any]:
    """Of one level, by world the rows of each arm: arms and differences, and in which worlds an arm could not be trained."""
    missing = {arm: [world for world, rows in found.items() if arm not in rows] for arm in grid.arms}
    return compared(found, tuple(grid.metrics)) | {"not trained": {arm: worlds for arm, worlds in missing.items() if worlds}}


def plot(levels: dict[float, dict[str, Any]], grid: Grid, path: Path) -> None:
    """A panel for each metric, a line for each arm over the levels of noise, with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(grid.metrics), figsize=(4 * len(grid.metrics), 3.2), squeeze=False)
    for axis, metric in zip(axes.flat, grid.metrics, strict=True):
        for arm in grid.arms:
            points = [(level, told["arms"][arm][metric]) for level, told in levels.items() if arm in told["arms"]]
            low, high = ([abs(found[end] - found["value"]) for _, found in points] for end in ("low", "high"))
            axis.errorbar(
                [level for level, _ in points], [found["value"] for _, found in points], [low, high], marker="o", capsize=3, label=arm
            )
        axis.set_title(metric, fontsize=9)
        axis.set_xlabel("chance that a reference makes a detail up", fontsize=8)
        axis.tick_params(labelsize=7)
    axes.flat[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[221, 222, 223], metavar="SEED")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.6, 0.9, 0.3, 0.0], metavar="SHARE")
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-worlds", metavar="FOLDER")
    options = parser.parse_args()
    grid = load_grid(GRID)
    clones = clones_of(options.worlds, options.work)

    def over_levels(clone: Path) -> dict[float, Arms]:
        found = {}
        for level in options.noise:
            prepare(int(clone.name), clone, level)
            _, _, found[level] = run(clone, COMMAND)
        prepare(int(clone.name), clone)
        return found

    rows = in_pairs(clones, over_levels)
    levels = {level: at_level({world: found[level] for world, found in rows.items()}, grid) for level in sorted(options.noise)}
    results = ROOT / "benchmarks" / "results"
    (results / "noise.json").write_text(json.dumps(how("noise", clones) | {"worlds": options.worlds, "noise": levels}, indent=1) + "\n")
    plot(levels, grid, results / "noise.png")
    print(f"wrote {results / 'noise.json'} and noise.png")


if __name__ == "__main__":
    main()
