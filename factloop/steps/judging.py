"""Judge pairs of document and summary by every judge that is given, going on after a kill."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import count, repeat
from pathlib import Path
from typing import Any

from ..corpora.rows import Row, read_rows, write_rows
from ..faults import kill_point
from ..judges.factcc import FactCC, factcc_batch, load_factcc
from ..judges.qags import Qags, qags_batch
from ..judges.quals import AGGREGATES, Quals, quals_batch
from ..judges.stream import Pair, stream
from ..seq2seq import Seq2Seq
from ..settings import FactccSettings, QagsSettings, QualsSettings
from ..training import Progress
from .qags import load_models

JUDGES = {"quals": "qagen", "qags": "question-answerer", "factcc": "factcc"}
"""Each judge with the input that brings it."""
SCORES = {"quals": AGGREGATES, "qags": ("qags", "qags_worst"), "factcc": ("factcc", "factcc_worst")}
DOUBT = -3.0  # nats: an answer that the document makes so much less likely than the summary (20 times) is doubted
DIGITS = 4  # of the log-probabilities kept as evidence


def judge_pairs(
    config: dict[str, Any], inputs: dict[str, Path], pairs: Sequence[Pair], checkpoints: Path, progress: Progress
) -> Iterator[Row]:
    """For each (document, summary) its `scores`, and by judge its `statuses` and `evidence`.

    Input `qagen` makes it be judged by QUALS, `factcc` by FactCC, QAGS's three models by QAGS. All pairs
    are judged by one judge after the other before this returns, and what they said is read as it is asked for. Without a judge
    nothing is said of any.
    """
    given = [judge for judge, model in JUDGES.items() if model in inputs]
    sizes = {}
    for judge in given:
        ask, sizes[judge] = _loaded(judge, inputs, config)
        name = f"{progress.name} by {judge}"
        for _ in stream(kept(checkpoints / judge, ask, name), pairs, sizes[judge], name):
            pass
        del ask  # and with it the models: one judge's are in memory at once
    found = [stream(kept(checkpoints / judge, None, judge), pairs, sizes[judge]) for judge in given]
    together = zip(*found, strict=True) if found else repeat((), len(pairs))
    return (_together(dict(zip(given, verdicts, strict=True))) for verdicts in together)


def _together(verdicts: dict[str, Row]) -> Row:
    """What each judge said of one pair as one row."""
    row: Row = {"scores": {}, "statuses": {}, "evidence": {}}
    for judge, verdict in verdicts.items():
        row["scores"] |= verdict["scores"]
        row["statuses"][judge], row["evidence"][judge] = verdict["status"], verdict["evidence"]
    return row


def _loaded(judge: str, inputs: dict[str, Path], config: dict[str, Any]) -> tuple[Callable[[Sequence[Pair]], list[Row]], int]:
    """A judge with its models, as a function of pairs, and how many it takes at once."""
    device = config["device"]
    if judge == "factcc":
        reader, reading = load_factcc(inputs["factcc"], device), FactccSettings(**config["factcc"])
        return lambda part: [of_factcc(verdict) for verdict in factcc_batch(reader, part, reading)], reading.batch_size
    if judge == "qags":
        models, asking = load_models(inputs, device), QagsSettings(**config["qags"])
        return lambda part: [of_qags(verdict) for verdict in qags_batch(models, part, asking)], asking.batch_size
    qagen, settings = Seq2Seq.load(inputs["qagen"], device), QualsSettings(**config["quals"])
    return lambda part: [of_quals(verdict) for verdict in quals_batch(qagen, part, settings)], settings.batch_size


def of_qags(verdict: Qags) -> Row:
    """A verdict as a row: the questions that summary and document answer least alike first."""
    evidence = [asdict(item) | {"f1": item.f1} for item in sorted(verdict.questions, key=lambda question: question.f1)]
    return {"status": verdict.status, "scores": dict(zip(SCORES["qags"], (verdict.mean, verdict.worst), strict=True)), "evidence": evidence}


def of_factcc(verdict: FactCC) -> Row:
    """A verdict as a row: the sentences least likely to be right first."""
    evidence = [asdict(sentence) for sentence in sorted(verdict.sentences, key=lambda sentence: sentence.correct)]
    return {
        "status": verdict.status,
        "scores": dict(zip(SCORES["factcc"], (verdict.mean, verdict.worst), strict=True)),
        "evidence": evidence,
    }


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


def kept(folder: Path, judge: Callable[[Sequence[Pair]], Sequence[Row]] | None, name: str) -> Callable[[Sequence[Pair]], list[Row]]:
    """`judge` with what it says of each batch kept in `folder`, and not asked for again; None where all of it is kept.

    Batches are told apart by their order, which `stream` makes the same of the same pairs.
    """
    if judge and (done := len(list(folder.glob("*.jsonl")))):
        print(f"{name}: goes on after {done} batches", flush=True)
    numbers = count()

    def ask(batch: Sequence[Pair]) -> list[Row]:
        part = folder / f"{next(numbers):06}.jsonl"
        if judge and not part.exists():
            write_rows(part, judge(batch))
            kill_point("judged:kept", f"{name}:{part.stem}")
        return list(read_rows(part))

    return ask


def status_shares(statuses: Iterable[Mapping[str, str]]) -> dict[str, float]:
    """By judge the share of texts with each status, `status/<judge>/<status>` without the numbers that it names.

    `no_evidence` of QUALS and `<judge>_no_evidence` of the others once more, as what is looked at first.
    """
    found: dict[str, Counter[str]] = {}
    for by_judge in statuses:
        for judge, told in by_judge.items():
            found.setdefault(judge, Counter(scored=0, no_evidence=0))[told.partition(":")[0]] += 1
    shares: dict[str, float] = {}
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
