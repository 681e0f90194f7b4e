"""What is behind a score, to look at: a plot of a pair's tokens, and an MLflow trace per example."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from heapq import nsmallest
from html import escape
from typing import Any

from mlflow.entities import Span
from mlflow.tracking import MlflowClient
from prefect import task

import mlflow
from factloop.corpora.rows import Row
from factloop.faults import kill_point

from .gate import each_example
from .memo import Done

TRACED = 20  # examples of a run, the worst by QUALS, unless more are asked for: a trace takes its time
TAG = "traced"  # tag: how many were asked for
TRACING = "tracing"  # tag: the traces that are being written
PART = 100  # of them at once: their ids must fit into the tag


HEIGHT, COLUMN, BAR = 110, 26, 10  # of the plot, pixels
SIDES = (("summary", 2, "#4878a8"), ("document", 1, "#e08a3c"))


def token_plot(pair: Mapping[str, Any]) -> str:
    """The probability of each token of a question and its answer, given the summary and given the document; an SVG as a data URL.

    Written out, since a report has a hundred of them and matplotlib takes a tenth of a second for each.
    """
    width = max(260, COLUMN * len(pair["tokens"]) + 16)
    answer = COLUMN * pair["cut"]
    parts = [
        f'<rect x="{answer}" y="14" width="{COLUMN * len(pair["tokens"]) - answer}" height="{HEIGHT}" fill="#000" fill-opacity=".08"/>'
    ]
    for shift, (side, _, colour) in enumerate(SIDES):
        parts.append(f'<text x="{2 + 130 * shift}" y="10" fill="{colour}">given the {side}</text>')
    for index, token in enumerate(pair["tokens"]):
        text = escape("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in token[0]))
        place = COLUMN * index
        for shift, (side, at, colour) in enumerate(SIDES):
            chance = math.exp(token[at])
            parts.append(
                f'<rect x="{place + 3 + BAR * shift}" y="{14 + HEIGHT * (1 - chance):.1f}" width="{BAR}" height="{HEIGHT * chance:.1f}"'
                f' fill="{colour}"><title>{text} given the {side}: {chance:.3f}</title></rect>'
            )
        parts.append(f'<text transform="translate({place + 8} {HEIGHT + 22}) rotate(40)">{text}</text>')
    size = f'width="{width}" height="{HEIGHT + 80}" font-family="sans-serif" font-size="10"'
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode()


def worst(rows: Iterable[Row], count: int) -> list[Row]:
    """Scored rows by QUALS, lowest first, then the others that could be read; at most `count`."""
    readable = (row for row in rows if row["document"])
    return nsmallest(count, readable, key=lambda row: (row["scores"].get("quals") is None, row["scores"].get("quals") or 0.0))


@task(task_run_name="traces-{done.name}")
def trace_examples(done: Done, count: int = TRACED) -> None:
    """A trace for each of the worst `count` examples of a judging run, once: they are in the run's tab Traces."""
    client = MlflowClient()
    run = client.get_run(done.run_id)
    if int(run.data.tags.get(TAG, -1)) >= count:
        return
    experiment = run.info.experiment_id
    known: list[str] = run.data.tags.get(TRACING, "").split()  # a trace that is not ended does not know its run
    while ended := client.search_traces(locations=[experiment], run_id=done.run_id, include_spans=False, max_results=PART):
        # By a process that was killed, or when fewer were asked for.
        client.delete_traces(experiment, trace_ids=[trace.info.trace_id for trace in ended])
    if known:
        client.delete_traces(experiment, trace_ids=known)
    rows = worst(each_example(done), count)
    for begin in range(0, len(rows), PART):
        part = rows[begin : begin + PART]
        # All are begun before any is written, and so known by one tag: while spans are written every other request to SQLite waits.
        roots = [client.start_trace("judge", "EVALUATOR", judged(row), experiment_id=experiment, run_id=done.run_id) for row in part]
        client.set_tag(done.run_id, TRACING, " ".join(root.trace_id for root in roots))
        for root, row in zip(roots, part, strict=True):
            _trace(client, root, row)
            kill_point("trace:logged", done.name)
        mlflow.flush_trace_async_logging()  # they are written by a thread of their own
    client.set_tag(done.run_id, TAG, str(count))
    client.delete_tag(done.run_id, TRACING)


def judged(row: Row) -> Row:
    """What a judge was given."""
    return {"document": row["document"], "summary": row.get("output", row.get("summary"))}


def _trace(client: MlflowClient, root: Span, row: Row) -> None:
    told = judged(row)
    for judge, evidence in row["evidence"].items():
        above = client.start_span(judge, root.trace_id, root.span_id, "EVALUATOR", told)
        for name, given, found in steps_of(judge, evidence, told):
            span = client.start_span(name, root.trace_id, above.span_id, "CHAIN", given)
            client.end_span(root.trace_id, span.span_id, found)
        scores = {name: value for name, value in row["scores"].items() if name.startswith(judge)}
        client.end_span(root.trace_id, above.span_id, scores | {"status": row["statuses"][judge]})
    client.end_trace(root.trace_id, row["scores"])


def steps_of(judge: str, evidence: list[Row], told: Row) -> list[tuple[str, Any, Any]]:
    """(name, inputs, outputs) of each step by which a judge came to its score."""
    if judge == "factcc":
        verdicts = [
            {"sentence": item["text"], "probability of CORRECT": item["correct"], "spans": [item["source"], item["claim"]]}
            for item in evidence
        ]
        return [("judge each sentence", told, verdicts)]
    asked = [{"question": item["question"], "answer": item.get("answer", item["summary"])} for item in evidence]
    if judge == "qags":
        extracted = list(dict.fromkeys(pair["answer"] for pair in asked))
        answers = [(f"answer from the {side}", {side: told[side]}, [item[side] for item in evidence]) for side in ("summary", "document")]
        compared = [pair | {"document": item["document"], "F1": item["f1"]} for pair, item in zip(asked, evidence, strict=True)]
        return [("extract", told["summary"], extracted), ("ask", extracted, asked), *answers, ("compare", None, compared)]
    sides = [
        (f"answer given the {side}", {side: told[side], "asked": asked}, [{"log-likelihood per token": item[side]} for item in evidence])
        for side in ("summary", "document")
    ]
    differences = [pair | {"document - summary": item["document"] - item["summary"]} for pair, item in zip(asked, evidence, strict=True)]
    return [("extract and ask", {"summary": told["summary"]}, asked), *sides, ("compare", None, differences)]
