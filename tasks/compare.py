"""Evaluations compared in pairs, and kept: an MLflow run with metrics, a JSON file and a page."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

import factloop.statistics as stats
from factloop.corpora.rows import Row
from factloop.faults import kill_point
from factloop.statistics import Difference, Estimate

from .drawing import image
from .environment import STATE
from .evaluations import Evaluation, Refused, find, notes, objection
from .keys import code_digest, digest
from .parent import git
from .report import page, save_page
from .tracking import begin

SHOWN = 20  # examples that differ most
LETTERS = ascii_uppercase
STEP = "compare"


@dataclass(frozen=True)
class Pair:
    """Two evaluations of a kind, the later named less the earlier."""

    label: str
    """`B - A`, by the place of their names in the command."""
    kind: str
    first: Evaluation
    second: Evaluation
    differences: dict[str, Difference]
    """By metric, best known first; a difference above 0 is a higher value of the second."""
    adjusted: dict[str, float]
    """P-values corrected for all metrics of all pairs (Holm)."""
    slices: dict[str, tuple[int, dict[str, Estimate]]]
    """By name of the slice its number of examples and differences."""
    examples: list[tuple[Row, Row]]
    """Those that differ most."""

    def shown(self, metric: str) -> str:
        return stats.shown(metric, self.differences[metric], self.adjusted[metric])

    def value(self, side: Evaluation, metric: str) -> float:
        return float(side.run.data.metrics.get(metric, math.nan))


@dataclass(frozen=True)
class Comparison:
    names: list[str]
    pairs: list[Pair]
    notes: list[str]
    run_id: str
    page: Path


def compare(names: list[str]) -> Comparison:
    """Compare what the names stand for, all pairs; raises Refused with the reason where two may not be compared."""
    found = [find(name) for name in names]
    chosen: list[tuple[str, Evaluation, Evaluation]] = []
    told: list[str] = []
    for a, b in combinations(range(len(names)), 2):
        chosen += [(f"{LETTERS[b]} - {LETTERS[a]}", *sides) for sides in _choose(names[a], names[b], found[a], found[b], told)]
    if not chosen:
        raise Refused("; ".join(told))
    measured = [(*pair, stats.example_shares(pair[2].rows, pair[1].rows)) for pair in chosen]
    differences = [stats.compare_examples(second.rows, first.rows) for _, first, second in chosen]
    adjusted = stats.holm({(place, name): d.p for place, every in enumerate(differences) for name, d in every.items()})
    pairs = []
    for place, (label, first, second, shares) in enumerate(measured):
        own = {name: (len(places), stats.slice_differences(shares, places)) for name, places in stats.slices(first.rows).items()}
        outputs = [(one["output"], other["output"]) for one, other in zip(first.rows, second.rows, strict=True)]
        most = [(first.rows[index], second.rows[index]) for index in stats.most_different(shares, outputs, SHOWN)]
        p = {name: adjusted[place, name] for name in differences[place]}
        pairs.append(Pair(label, first.kind, first, second, differences[place], p, own, most))
        told += [f"{label}, {first.kind}: {note}" for note in notes(first, second)]
    return _keep(names, pairs, told)


def _choose(
    name: str, other: str, found: dict[str, list[Evaluation]], others: dict[str, list[Evaluation]], told: list[str]
) -> list[tuple[Evaluation, Evaluation]]:
    """For each kind that both have, the newest two that may be compared; the same evaluation twice is only told."""
    kinds = [kind for kind in found if kind in others]
    if not kinds:
        raise Refused(f"{name} has {' and '.join(found)}, {other} has {' and '.join(others)}: nothing of the same kind")
    chosen = []
    for kind in kinds:
        tried = [(one, two, objection(one, two)) for one in found[kind] for two in others[kind]]
        fit = next(((one, two) for one, two, wrong in tried if wrong is None), None)
        wrong = tried[0][2]
        if fit:
            chosen.append(fit)
        elif wrong and wrong.startswith("both are"):
            told.append(f"{name} and {other}, {kind}: {wrong}")
        else:
            raise Refused(f"{name} and {other}, {kind}: {wrong}")
    return chosen


def _keep(names: list[str], pairs: list[Pair], told: list[str]) -> Comparison:
    """Record a comparison; the same one again goes into the same run."""
    client, run = MlflowClient(), pairs[0].first.run
    compared = [[pair.first.run.info.run_id, pair.second.run.info.run_id] for pair in pairs]
    key = digest({"names": names, "runs": compared, "code": code_digest(__name__)})
    experiment = run.info.experiment_id
    earlier = client.search_runs([experiment], f"tags.run_key = '{key}'", max_results=1)
    kept = {name: run.data.tags.get(name, "unknown") for name in ("profile", "data_version")}
    tags = kept | {"step": STEP, "run_key": key, "git_commit": git("rev-parse", "HEAD")}
    run_id = begin(client, earlier[0] if earlier else None, experiment, f"compare {' '.join(names)}"[:250], tags).info.run_id
    kill_point("compare:begun")
    client.log_batch(run_id, params=[Param(letter, name) for letter, name in zip(LETTERS, names, strict=False)])
    metrics = {f"difference/{pair.label.replace(' ', '')}/{pair.kind}/{name}": pair for pair in pairs for name in pair.differences}
    client.log_batch(run_id, metrics=[point for name, pair in metrics.items() for point in _points(name, pair)])
    kill_point("compare:measured")
    path = STATE / "reports" / f"compare-{run_id}.html"
    comparison = Comparison(names, pairs, told, run_id, path)
    client.log_dict(run_id, as_json(comparison), "comparison.json")
    save_page(path, page("compare.html.jinja", comparison=comparison, plot=plot, letters=LETTERS, lower=stats.LOWER_IS_BETTER), "compare")
    client.log_artifact(run_id, str(path))
    kill_point("compare:logged")
    client.set_terminated(run_id, "FINISHED")
    return comparison


def _points(label: str, pair: Pair) -> list[Metric]:
    name = label.rpartition("/")[2]
    found = pair.differences[name]
    values = {"": found.value, ".low": found.low, ".high": found.high, ".p": found.p, ".p_holm": pair.adjusted[name]}
    return [Metric(f"{label}{suffix}", value, 0, 0) for suffix, value in values.items()]


def as_json(comparison: Comparison) -> dict[str, Any]:
    """All of it but the outputs; what has no number (nothing differs) is null."""
    return {
        "names": comparison.names,
        "notes": comparison.notes,
        "pairs": [
            {
                "label": pair.label,
                "kind": pair.kind,
                "runs": [pair.first.run.info.run_id, pair.second.run.info.run_id],
                "test_set": pair.first.test_set,
                "judges": pair.first.judges,
                "metrics": {
                    name: asdict(found)
                    | {"p_holm": pair.adjusted[name], "shown": pair.shown(name), "detectable": finite(found.detectable())}
                    for name, found in pair.differences.items()
                },
                "slices": {
                    name: {"examples": count, "differences": {metric: asdict(value) for metric, value in found.items()}}
                    for name, (count, found) in pair.slices.items()
                },
                "most_different": [one["id"] for one, _ in pair.examples],
            }
            for pair in comparison.pairs
        ],
    }


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def plot(pair: Pair) -> str:
    """The differences with their intervals, better to the right, each in the smallest difference that these examples show."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name, found in pair.differences.items() if found.differing]
    gains = {name: stats.gain(name, pair.differences[name]) for name in names}
    figure, axis = pyplot.subplots(figsize=(8, 1 + 0.3 * len(names)))
    colours = {"better": "#1a7f37", "worse": "#b3261e", "not shown": "#5a6675"}
    for place, name in enumerate(reversed(names)):
        unit, found, colour = gains[name].detectable(), gains[name], colours[pair.shown(name)]
        axis.plot([found.low / unit, found.high / unit], [place, place], color=colour, linewidth=2)
        axis.plot(found.value / unit, place, "o", color=colour)
    axis.axvline(0, color="black", linewidth=0.8)
    for edge in (-1, 1):
        axis.axvline(edge, color="black", linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(names)), list(reversed(names)), fontsize=8)
    axis.set_xlabel("worse  <  0  <  better; dotted: shown in 80% of tries on as many examples", fontsize=8)
    figure.tight_layout()
    return image(figure)
