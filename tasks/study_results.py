"""What raters said of a study, recorded with both evaluations: metrics, the answers, a page."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from factloop.faults import kill_point
from factloop.statistics import Estimate
from factloop.statistics.study import VERDICTS, Outcome, SignTest, outcome
from factloop.study import AXES
from factloop.study.answers import Verdicts

from .environment import STATE
from .keys import digest
from .memo import lease
from .report import page, save_page
from .study import NoStudy, Study

Results = dict[str, Outcome]
"""By axis, of the first system against the second."""
WORDS = {verdict: name for name, verdict in VERDICTS.items()}


def results_of(study: Study, answers: Mapping[int, Verdicts]) -> Results:
    """Shares, tests and agreement on every axis."""
    return {
        axis: outcome(np.array([[answers[rater][pair.id][axis] for rater in sorted(answers)] for pair in study.pairs])) for axis in AXES
    }


def metrics_of(study: Study, results: Results, raters: int, second: bool) -> dict[str, float]:
    """As they are logged with the first system's evaluation, or, turned round, with the second's."""
    turned = {"better": "worse", "worse": "better", "equal": "equal"} if second else {}
    found: dict[str, float] = {"study/pairs": len(study.pairs), "study/identical": study.identical, "study/raters": raters}
    for axis, said in results.items():
        estimates = {turned.get(name, name): share for name, share in said.shares.items()}
        estimates |= {"kappa": said.kappa} if said.kappa else {}
        for name, value in estimates.items():
            found |= {f"study/{axis}/{name}{suffix}": number for suffix, number in _parts(value)}
        found |= {f"study/{axis}/p_majority": said.majority.p, f"study/{axis}/p_judgements": said.judgements.p}
    return {name: float(value) for name, value in found.items()}


def _parts(value: Estimate) -> tuple[tuple[str, float], ...]:
    return ("", value.value), (".low", value.low), (".high", value.high)


def cells(said: Outcome) -> dict[str, str]:
    """One axis in words, for the terminal and the page."""

    def told(test: SignTest) -> str:
        return f"{test.better} : {test.worse}, p = {test.p:.3f}" if test.p >= 0.001 else f"{test.better} : {test.worse}, p < 0.001"

    shares = {name: f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]" for name, share in said.shares.items()}
    tests = {"by majority": told(said.majority), "by judgement": told(said.judgements)}
    return {**shares, **tests, "kappa": str(said.kappa) if said.kappa else "not available"}


def record_study(study: Study, answers: Mapping[int, Verdicts], files: Sequence[Path]) -> Path:
    """Log what was found with both evaluations, the same answers once however often they are read; returns the page's path.

    `files` are those that the answers were read from, in their order.
    """
    results = results_of(study, answers)
    given = digest([study.id, {str(rater): answers[rater] for rater in sorted(answers)}])[:12]
    name = f"{study.id}-{given}"
    folder = STATE / "reports" / f"study-{name}"
    save_page(folder / "study.html", results_page(study, answers, results), "study results")
    told = {"study": study.id, "rated": [asdict(side) for side in study.rated], "raters": sorted(answers)}
    save_page(
        folder / "study.json", json.dumps(told | {"axes": {axis: asdict(said) for axis, said in results.items()}}, indent=1), "study.json"
    )
    for rater, file in zip(answers, files, strict=True):
        shutil.copyfile(file, folder / f"rater-{rater}.csv")
    client = MlflowClient()
    with lease(f"study-{study.id}", wait=60):
        for second, side in enumerate(study.rated):
            other = study.rated[1 - second].name
            metrics = metrics_of(study, results, len(answers), bool(second))
            _log_once(client, side.run, f"study.{study.id}", given, metrics, other)
            client.log_artifacts(side.run, str(folder), f"study/{name}")
            kill_point("study:logged")
    return folder / "study.html"


def _log_once(client: MlflowClient, run: str, tag: str, given: str, metrics: Mapping[str, float], other: str) -> None:
    """Log metrics at the moment that a tag keeps: logged again, they are the same points."""
    tags = client.get_run(run).data.tags
    begun = json.loads(tags.get(tag, "{}"))
    if begun.get("answers") != given:
        begun = {"answers": given, "against": other, "time": int(time.time() * 1000)}
        client.set_tag(run, tag, json.dumps(begun))
        kill_point("study:told")
    client.log_batch(run, metrics=[Metric(name, value, begun["time"], 0) for name, value in metrics.items()])


def check_runs(study: Study) -> None:
    """Both evaluations must be there before anything is recorded."""
    for side in study.rated:
        try:
            MlflowClient().get_run(side.run)
        except MlflowException as error:
            raise NoStudy(f"{side.name}: {error.message}; the study was exported from another MLflow store") from None


def results_page(study: Study, answers: Mapping[int, Verdicts], results: Results) -> str:
    rows: list[dict[str, Any]] = [
        {"pair": pair, "said": {axis: [WORDS[answers[rater][pair.id][axis]] for rater in sorted(answers)] for axis in AXES}}
        for pair in study.pairs
    ]
    return page(
        "study_results.html.jinja", study=study, raters=sorted(answers), axes=AXES, rows=rows,
        table={axis: cells(said) for axis, said in results.items()},
    )  # fmt: skip
