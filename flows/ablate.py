"""Which method does it? Several ways to train the MLE model further, with several seeds, on the same candidates.

    python -m flows.ablate --profile world --grid configs/grids/methods.yaml --seeds 1 2 3

The grid names arms: fields of `summarizer.score` and `summarizer.contrast` that each sets. All arms share base,
judges, MLE model, candidates and the number of updates; the seed is that of the further training. Unchanged cells
are taken from earlier runs; a killed ablation goes on where it was. See docs/contrast.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from prefect import flow
from rich.table import Table

from factloop import java
from flows.train_judges import ROLES, ready_judges
from tasks import base, parent, summarizer
from tasks.ablate import Cell, Found, evaluate_arm, record_ablation, train_arm
from tasks.console import Steps, say
from tasks.console import console as terminal
from tasks.data import reproduce
from tasks.environment import ROOT
from tasks.failures import told
from tasks.grids import Grid, arm_profiles, load_grid
from tasks.judges import Role, with_judges
from tasks.memo import lease
from tasks.profiles import Profile, ProfileError, load_profile
from tasks.server import prefect_api


@flow(name="ablate", flow_run_name="ablate-{profile.name}", validate_parameters=False)
def ablate(profile: Profile, grid: Grid, arms: dict[str, Profile | None], seeds: list[int]) -> tuple[list[Cell], dict[str, str], Path]:
    """The table, the arms that diverged with the reason, and the folder of the files."""
    from factloop.training import CannotTrain, TrainingDiverged

    steps, found, diverged = Steps(profile), Found(), dict[str, str]()
    data = reproduce(profile)
    with parent.parent_run(profile, data, "ablate", grid=grid.model_dump(), seeds=seeds) as context:
        start = steps.done(base.train_base(context, profile, data))
        roles: tuple[Role, ...] = ROLES if grid.judged else ("training",)
        judges, _ = ready_judges(context, profile, data, start, steps, arms=[own for own in arms.values() if own], roles=roles)
        gate = judges.get("gate", {})
        context = with_judges(context, *judges.values())
        likelihood = steps.done(summarizer.train_likelihood(context, profile, data, start))
        candidates = steps.done(summarizer.sample_candidates(context, profile, data, likelihood))
        for arm, own in arms.items():
            if own is None:  # one model, whatever the seed
                done = evaluate_arm(context, profile, arm, profile.seed, data, likelihood, gate)
                found[arm] = [steps.done(done)] * len(seeds)
                continue
            scores = steps.done(summarizer.score_candidates(context, own, candidates, judges["training"]))
            by = summarizer.Validation(data, judges["training"], scores)
            try:
                models = [steps.done(train_arm(context, own, arm, seed, likelihood, scores, by)) for seed in seeds]
            except (CannotTrain, TrainingDiverged) as error:
                diverged[arm] = str(error)
                continue
            found[arm] = [
                steps.done(evaluate_arm(context, own, arm, seed, data, model, gate)) for seed, model in zip(seeds, models, strict=True)
            ]
        if grid.reference in diverged:
            raise ProfileError(f"the reference arm diverged: {diverged[grid.reference]}")
        cells, folder = record_ablation(context, grid, seeds, found, diverged)
    return cells, diverged, folder


def show(grid: Grid, seeds: list[int], cells: list[Cell], diverged: dict[str, str], folder: Path) -> None:
    digits = "{:.3f} [{:.3f}, {:.3f}]".format
    for metric in grid.metrics:
        table = Table(title=f"{metric}, {len(seeds)} seeds, {grid.steps} updates", title_justify="left", title_style="bold")
        for column in ("arm", "mean [95% interval]", f"less {grid.reference}", "p, by Holm", "verdict"):
            table.add_column(column)
        for cell in (cell for cell in cells if cell.metric == metric):
            difference = digits(*vars(cell.difference).values()) if cell.difference else ""
            p = "" if cell.p is None else f"{cell.p:.4f}"
            table.add_row(cell.arm, digits(*vars(cell.mean).values()), difference, p, cell.verdict)
        terminal.print(table)
    for arm, why in diverged.items():
        say(f"[bold]{arm}[/bold] diverged and is in no table: {why}")
    say(f"files   {folder}, and as artifacts of the parent run")
    say("look    make ui, experiment of the profile: choose the runs evaluate-* below `ablate`, Compare, Parallel Coordinates")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="world", help="a file in configs/ (default: world)")
    parser.add_argument(
        "--grid", type=Path, default=ROOT / "configs" / "grids" / "methods.yaml", help="the arms (default: configs/grids/methods.yaml)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the further training (default: 1 2 3)")
    parser.add_argument("--metrics", nargs="+", help="in place of the grid's; the gate judges are trained and asked where one is theirs")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override one field of the profile, for all arms")
    options = parser.parse_args(arguments)
    with told("ablate", FileNotFoundError, IsADirectoryError):
        if len(set(options.seeds)) < len(options.seeds) or min(options.seeds) < 0:
            raise ProfileError(f"--seeds {' '.join(map(str, options.seeds))}: each once, none below 0")
        profile, grid = load_profile(options.profile, options.set), load_grid(options.grid, options.metrics)
        arms = arm_profiles(profile, options.set, grid)
        if profile.meteor:
            java.check()
        with lease(f"ablate-{profile.name}"), prefect_api():
            found = ablate(profile, grid, arms, options.seeds)
            show(grid, options.seeds, *found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
