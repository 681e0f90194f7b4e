"""Judge pairs of document and summary by every judge that is given, going on after a kill."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..corpora.rows import Row, read_rows, write_rows
from ..faults import kill_point
from ..judges.factcc import FactCC, factcc
from ..judges.qags import Qags, qags
from ..judges.quals import Quals, quals
from ..reader import Reader
from ..seq2seq import Seq2Seq
from ..settings import FactccSettings, QagsSettings, QualsSettings
from ..training import Progress
from .qags import load_models

CHUNK = 512  # pairs; what of them a killed run had not judged is judged again
JUDGES = {"quals": "qagen", "qags": "question-answerer", "factcc": "factcc"}
"""Each judge with the input that brings it."""
DOUBT = -3.0  # nats: an answer that the document makes so much less likely than the summary (20 times) is doubted
DIGITS = 4  # of the log-probabilities kept as evidence


def judge_pairs(
    config: dict[str, Any], inputs: dict[str, Path], pairs: Sequence[tuple[str, str]], checkpoints: Path, progress: Progress
) -> list[Row]:
    """For each (document, summary) its `scores`, and by judge its `statuses` and `evidence`.

    Input `qagen` makes it be judged by QUALS, `factcc` by FactCC, QAGS's three models by QAGS.
    """
    rows: list[Row] = [{"scores": {}, "statuses": {}, "evidence": {}} for _ in pairs]
    for judge, model in JUDGES.items():
        if model in inputs:
            ask = _loaded(judge, inputs, config)
            name = f"{progress.name} by {judge}"
            for row, verdict in zip(rows, in_chunks(checkpoints / judge, pairs, ask, name), strict=True):
                row["scores"] |= verdict["scores"]
                row["statuses"][judge], row["evidence"][judge] = verdict["status"], verdict["evidence"]
    return rows


def _loaded(judge: str, inputs: dict[str, Path], config: dict[str, Any]) -> Callable[[Sequence[tuple[str, str]]], list[Row]]:
    """A judge with its models, as a function of pairs."""
    device = config["device"]
    if judge == "factcc":
        reader = Reader.load(inputs["factcc"], device)
        return lambda part: [of_factcc(verdict) for verdict in factcc(reader, *_sides(part), FactccSettings(**config["factcc"]))]
    if judge == "qags":
        models = load_models(inputs, device)
        return lambda part: [of_qags(verdict) for verdict in qags(models, *_sides(part), QagsSettings(**config["qags"]))]
    qagen = Seq2Seq.load(inputs["qagen"], device)
    return lambda part: [of_quals(verdict) for verdict in quals(qagen, *_sides(part), QualsSettings(**config["quals"]))]


def _sides(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [document for document, _ in pairs], [summary for _, summary in pairs]


def of_qags(verdict: Qags) -> Row:
    """A verdict as a row: the questions that summary and document answer least alike first."""
    evidence = [asdict(item) | {"f1": item.f1} for item in sorted(verdict.questions, key=lambda question: question.f1)]
    return {"status": verdict.status, "scores": {"qags": verdict.mean, "qags_worst": verdict.worst}, "evidence": evidence}


def of_factcc(verdict: FactCC) -> Row:
    """A verdict as a row: the sentences least likely to be right first."""
    evidence = [asdict(sentence) for sentence in sorted(verdict.sentences, key=lambda sentence: sentence.correct)]
    return {"status": verdict.status, "scores": {"factcc": verdict.mean, "factcc_worst": verdict.worst}, "evidence": evidence}


def of_quals(verdict: Quals) -> Row:
    """A verdict as a row: the pairs that the document bears out least first."""
    evidence = [
        {
            "question": pair.question, "answer": pair.answer, "document": pair.document, "summary": pair.summary,
            "answer_only": pair.answer_only, "cut": pair.cut,
            "tokens": [[token.text, round(token.document, DIGITS), round(token.summary, DIGITS)] for token in pair.tokens],
        }
        for pair in sorted(verdict.pairs, key=lambda pair: pair.difference)
    ]  # fmt: skip
    return {"status": verdict.status, "scores": verdict.scores, "evidence": evidence}


def in_chunks(
    folder: Path, items: Sequence[Any], judge: Callable[[Sequence[Any]], Sequence[Row]], name: str, size: int = CHUNK
) -> list[Row]:
    """What `judge` gives for all items, `size` at a time, each part kept in `folder` when it is done and not asked for again."""
    starts = range(0, len(items), size)
    parts = [folder / f"{number:06}.jsonl" for number in range(len(starts))]
    if kept := sum(part.exists() for part in parts):
        print(f"{name}: goes on after {kept} of {len(parts)} parts", flush=True)
    for begin, part in zip(starts, parts, strict=True):
        if not part.exists():
            write_rows(part, judge(items[begin : begin + size]))
            kill_point("judged:kept", f"{name}:{part.stem}")
    return [row for part in parts for row in read_rows(part)]


def status_shares(statuses: Iterable[Mapping[str, str]]) -> dict[str, float]:
    """By judge the share of texts with each status, `status/<judge>/<status>` without the numbers that it names.

    `no_evidence` of QUALS and `<judge>_no_evidence` of the others once more, as what is looked at first.
    """
    found: dict[str, Counter[str]] = {}
    for by_judge in statuses:
        for judge, told in by_judge.items():
            found.setdefault(judge, Counter(scored=0, no_evidence=0))[told.partition(":")[0]] += 1
    shares = {}
    for judge, counts in found.items():
        shares |= {f"status/{judge}/{slug(kind)}": count / counts.total() for kind, count in counts.items()}
        shares["no_evidence" if judge == "quals" else f"{judge}_no_evidence"] = counts["no_evidence"] / counts.total()
    return shares


def slug(name: str) -> str:
    """A name as part of a metric's."""
    return re.sub(r"[^\w.-]+", "_", name)


def doubted(row: Row) -> list[str]:
    """Answers in a summary that its document does not bear out, by QUALS."""
    return [pair["answer"] for pair in row["evidence"].get("quals", []) if pair["answer_only"] < DOUBT]


def status(statuses: dict[str, str]) -> str:
    """`scored` where every judge has given a score, else each reason why not, with the judges that had it."""
    reasons = dict.fromkeys(found for found in statuses.values() if found != "scored")
    return "; ".join(f"{reason} ({', '.join(judge for judge in statuses if statuses[judge] == reason)})" for reason in reasons) or "scored"
