"""Judge cards: how far each judge can be trusted, kept with the version of its model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from mlflow.tracking import MlflowClient
from prefect import task

from factloop.faults import kill_point

from .console import interval_text
from .environment import ROOT, STATE
from .judges import judge_settings
from .keys import file_digest
from .memo import Context, Done, once
from .profiles import MirrorData, Profile, ProfileError
from .report import page, save_page

BASELINE = "trigrams"
CARD = "card"  # tag of a model version: the gist of its card
PLANTED = "planted errors"
COUNTS = ("n", "scored")
KINDS = (*COUNTS, "auc", "balanced_accuracy", "pearson", "spearman", "pearson_partial", "spearman_partial", "over_trigrams")
NAMES = re.compile(rf"judge/(?P<name>\w+)/(?:(?P<source>(?!auc/)[\w.-]+)/)?(?P<kind>{'|'.join(KINDS)})(?:/(?P<error>[\w.-]+))?")
Table = dict[str, dict[str, dict[str, str]]]


def labelled_data(profile: Profile) -> tuple[str, str]:
    """What people said of summaries, as the profile's data stages read it: path and SHA-256."""
    path = ROOT / "data" / profile.name / "ingested" / "judged.jsonl"
    if not isinstance(profile.data.source, MirrorData) or not path.exists() or not path.stat().st_size:
        raise ProfileError(f"profile {profile.name} names nothing that people judged (data.source.judged); --labelled FILE takes yours")
    return str(path), file_digest(path)


@task(task_run_name="calibrate")
def agree(context: Context, profile: Profile, labelled: tuple[str, str], judges: Mapping[str, Done]) -> Done:
    """How far the judges agree with people."""
    return once(context, "calibrate", "factloop.steps.judge:agree", config=judge_settings(profile), inputs={**judges, "labelled": labelled})


def rows_of(metrics: Mapping[str, float], by_error: bool = False) -> Table:
    """Source -> score -> kind of agreement -> its value with interval, counts first; or source -> score -> kind of error -> AUC."""
    table: Table = {}
    order = {kind: place for place, kind in enumerate(KINDS)}
    for metric in sorted(metrics, key=lambda metric: order.get(metric.rpartition("/")[2], len(order))):
        found = NAMES.fullmatch(metric)
        if not found or bool(found["error"]) != by_error:
            continue
        told = f"{metrics[metric]:.0f}" if found["kind"] in COUNTS else interval_text(metrics, metric)
        if found["kind"] in COUNTS or f"{metric}.low" in metrics:  # the ends of an interval are no kinds of error
            column = found["error"] if by_error else found["kind"]
            table.setdefault(found["source"] or PLANTED, {}).setdefault(found["name"], {})[column] = told
    return table


def columns(scores: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Those that any of the scores of a source has, in order."""
    return list(dict.fromkeys(column for found in scores.values() for column in found))


def status_table(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Judge -> status -> the share of the examples that had it."""
    table: dict[str, dict[str, float]] = {}
    for metric in sorted(metrics):
        prefix, _, rest = metric.partition("/")
        judge, _, kind = rest.partition("/")
        if prefix == "status":
            table.setdefault(judge, {})[kind.replace("_", " ")] = metrics[metric]
    return table


def against_baseline(metrics: Mapping[str, float], name: str, source: str) -> str:
    """In words, whether a score agrees with the labels of a source better than the trigrams that summary and document share."""
    of = f"judge/{name}" if source == PLANTED else f"judge/{name}/{source}"
    at = f"{of}/over_{BASELINE}"
    if at not in metrics:
        count, scored = (int(metrics.get(f"{of}/{kind}", 0)) for kind in COUNTS)
        why = "it judged none of the examples"
        if count:
            alike = "one and the same label on, or score of," if scored else "it found nothing to ask in"
            why = f"{alike} all {count} examples that it judged"
        return f"nothing can be said: {why}"
    if metrics[f"{at}.low"] > 0:
        return "better than trigrams"
    return "worse than trigrams" if metrics[f"{at}.high"] < 0 else "not surely better than trigrams"


def gist(metrics: Mapping[str, float], name: str) -> str:
    """One line: how far a score can be trusted, by source, beside the trigrams."""
    told = []
    for source, scores in rows_of(metrics).items():
        if name not in scores or not scores[name].keys() & {"auc", "pearson"}:
            told.append(f"{source}: {against_baseline(metrics, name, source)}")
            continue
        kind = "auc" if "auc" in scores[name] else "pearson"
        label = "AUC" if kind == "auc" else "Pearson"
        told.append(f"{source}: {label} {scores[name][kind]}, trigrams {scores[BASELINE][kind]}, {against_baseline(metrics, name, source)}")
    return "; ".join(told)


@task(task_run_name="judge-card")
def write_card(profile: Profile, measured: Done, judges: Mapping[str, Done]) -> Path:
    """The card of all judges as a page and as JSON, with each judge's model version; its gist as tag and description."""
    folder = STATE / "reports" / f"card-{profile.name}-{measured.run_id}"
    table = rows_of(measured.metrics)
    verdicts = {source: {name: against_baseline(measured.metrics, name, source) for name in scores} for source, scores in table.items()}
    errors = rows_of(measured.metrics, by_error=True)
    text = page(
        "card.html.jinja", profile=profile, measured=measured, table=table, errors=errors, verdicts=verdicts, judges=judges,
        columns=columns, statuses=status_table(measured.metrics),
    )  # fmt: skip
    save_page(folder / "card.html", text, "card")
    save_page(folder / "card.json", json.dumps({"run": measured.run_id, "metrics": measured.metrics}, indent=1), "card.json")
    client = MlflowClient()
    for file in folder.iterdir():
        client.log_artifact(measured.run_id, str(file), CARD)
    for label, judge in ((label, judge) for label, judge in judges.items() if label in SCORE_OF):
        version = client.get_run(judge.run_id).data.tags["model_id"]
        for file in folder.iterdir():
            client.log_model_artifact(version, str(file), CARD)
        kill_point("card:logged", label)
        told = gist(measured.metrics, SCORE_OF[label])
        client.set_model_version_tag(f"{profile.name}-{label}", str(judge.version), CARD, told)
        client.update_model_version(f"{profile.name}-{label}", str(judge.version), description=told)
    return folder / "card.html"


def gists(profile: Profile, judges: Mapping[str, Done]) -> dict[str, str | None]:
    """How far each judge can be trusted, as the card of its version says in a line; None where it has no card."""
    client = MlflowClient()
    return {
        SCORE_OF[label]: client.get_model_version(f"{profile.name}-{label}", str(judge.version)).tags.get(CARD)
        for label, judge in judges.items()
        if label in SCORE_OF
    }


SCORE_OF = {"qagen": "quals", "question-answerer": "qags", "factcc": "factcc"}
"""The score that a card sums a judge's model up by."""
