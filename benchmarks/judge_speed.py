"""How fast the judges are, all in one run on the same documents with models of one size.

    python -m benchmarks.judge_speed                     # about nine minutes on two cores
    python -m benchmarks.judge_speed --models FOLDER     # models kept there: trained where it has none

- QUALS in batches against QUALS written out plainly, one summary and one pair at a time, with the same
  weights: time with 60 pairs a summary (no filters: every hypothesis is scored), and, with the filters, the
  largest difference of a pair's scores in float32 and float64.
- QAGS as published, one example and one question at a time, against QUALS (by default, and with the published
  60 groups) and QAGS in batches.
- QUALS in batches of 64 against batches of 7 in another order with one thread: how often it keeps the same pairs.
- Memory of a stream of short documents through each judge.

Models of the world's size are trained for a minute or so each, on the world's passages: what they ask must
pass the filters, it need not be good. Each round times every judge once; ratios are of one round.
Written to `benchmarks/results/judge_speed.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from benchmarks.plain_judges import every_hypothesis, plain_quals, published_qags
from benchmarks.run import ROOT, commit_of, processor
from factloop.base import from_scratch
from factloop.judges.answer_extractor import new_extractor, train_answer_extractor
from factloop.judges.qagen import train_qagen
from factloop.judges.qags import QagsModels, qags
from factloop.judges.quals import Quals, quals
from factloop.judges.question_answerer import new_answerer, train_question_answerer
from factloop.judges.question_generator import train_question_generator
from factloop.reader import Reader
from factloop.seq2seq import Seq2Seq
from factloop.settings import Network, QagsSettings, QualsSettings, QuestionAnswererSettings, TrainingSettings, Window
from factloop.world import generate
from factloop.world.vocabulary import make_world

NETWORK, WINDOW = Network(96, 2, 2, 4, 1600), Window(160, 160)  # of profile world
EXAMPLES = 64
ROUNDS = 3
ALL_PAIRS = QualsSettings(groups=60, pairs=60)  # as far as the filters let them through
PUBLISHED = QualsSettings(groups=60, pairs=10)
QUALS_FASTER, QAGS_SLOWER = 5, 55  # at least: ours; the paper's headline


class Models(NamedTuple):
    qagen: Seq2Seq
    qags: QagsModels


class Silent:
    def __init__(self, name: str) -> None:
        self.name = name

    def log(self, metrics: dict[str, float], step: int) -> None: ...


def train(folder: Path) -> None:
    """QAGen and QAGS's models, each from a base with random weights, into `folder`."""
    world, noise = make_world(1), generate.Noise()
    passages = list(generate.passages(world, 1, 4000, noise.omission))
    texts = [text for row in passages for text in [row["passage"], *(item["question"] for item in row["questions"])]]

    def base() -> Seq2Seq:
        return from_scratch(texts, NETWORK, WINDOW, 0)

    def settings(steps: int) -> TrainingSettings:
        return TrainingSettings(steps, 32, 2e-3, muon=0.01)

    with tempfile.TemporaryDirectory() as scratch:
        made = Models(base(), QagsModels(new_extractor(base(), 0), base(), new_answerer(base(), 0)))
        parts = made.qags
        train_qagen(made.qagen, passages, settings(300), 0, Path(scratch) / "1", Silent("QAGen"))
        train_answer_extractor(parts.extractor, passages, settings(80), 0, Path(scratch) / "2", Silent("answer extractor"))
        train_question_generator(parts.generator, passages, settings(200), 0, Path(scratch) / "3", Silent("question generator"))
        answering = QuestionAnswererSettings(settings(200))
        train_question_answerer(parts.answerer, passages, answering, 0, Path(scratch) / "4", Silent("question answerer"))
    for name, model in {"qagen": made.qagen, **parts._asdict()}.items():
        model.save(folder / name)


def load(folder: Path) -> Models:
    answering = QagsModels(Reader.load(folder / "extractor"), Seq2Seq.load(folder / "generator"), Reader.load(folder / "answerer"))
    return Models(Seq2Seq.load(folder / "qagen"), answering)


def same_scores(model: Seq2Seq, documents: Sequence[str], summaries: Sequence[str], settings: QualsSettings) -> dict[str, Any]:
    return agreement(quals(model, documents, summaries, settings), plain_quals(model, documents, summaries, settings))


def agreement(ours: Sequence[Quals], others: Sequence[Quals]) -> dict[str, Any]:
    """Summaries with the same pairs, pairs of both, of how many, and how far apart the scores of the same pair are at most."""
    alike, shared, total, apart = 0, 0, 0, 0.0
    for verdicts in zip(ours, others, strict=True):
        one, other = ({(pair.question, pair.answer): (pair.document, pair.summary) for pair in found.pairs} for found in verdicts)
        both = one.keys() & other.keys()
        alike, shared, total = alike + (one.keys() == other.keys()), shared + len(both), total + len(one.keys() | other.keys())
        apart = max([apart, *(abs(a - b) for pair in both for a, b in zip(one[pair], other[pair], strict=True))])
    return {"summaries": len(ours), "same_pairs": alike, "pairs": total, "in_both": shared, "largest_difference": apart}


def same_choices(model: Seq2Seq, count: int) -> dict[str, Any]:
    """QUALS in large batches against small ones in another order, with one thread."""
    rows = list(generate.documents(make_world(1), 98, count, generate.Noise()))
    documents, summaries = [row["document"] for row in rows], [row["summary"] for row in rows]
    order = random.Random(0).sample(range(count), count)
    first = quals(model, documents, summaries, QualsSettings(batch_size=64))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    again = quals(model, [documents[i] for i in order], [summaries[i] for i in order], QualsSettings(batch_size=7))
    torch.set_num_threads(threads)
    return agreement([first[index] for index in order], again)


# Memory


STREAM = """
import json, sys
from pathlib import Path
import torch
from benchmarks.judge_speed import resident, short_documents
from factloop.base import from_scratch
from factloop.judges import QagsModels, factcc_stream, qags_stream, quals_stream
from factloop.judges.answer_extractor import new_extractor
from factloop.judges.factcc import new_factcc
from factloop.judges.question_answerer import new_answerer
from factloop.settings import FactccSettings, Network, QagsSettings, QualsSettings, Window
torch.set_num_threads(2)
few, many, judge = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
base = lambda: from_scratch([text for pair in short_documents(200) for text in pair], Network(16, 1, 1, 2, 500), Window(64, 16), 0)
verdicts = {
    "quals": lambda pairs: quals_stream(base(), pairs, QualsSettings(groups=2, min_length=1, max_length=6)),
    "qags": lambda pairs: qags_stream(
        QagsModels(new_extractor(base(), 0), base(), new_answerer(base(), 0)), pairs,
        QagsSettings(answers=1, hypotheses=1, question_length=6, answer_length=4),
    ),
    "factcc": lambda pairs: factcc_stream(new_factcc(base(), 0), pairs, FactccSettings()),
}[judge](short_documents(many))
found = {}
for number, verdict in enumerate(verdicts, 1):
    if number in (few, many):
        found[number] = resident()
print(json.dumps(found))
"""


def short_documents(count: int) -> Iterator[tuple[str, str]]:
    for number in range(count):
        yield f"Mara wrote book {number % 977} in {1900 + number % 89}.", f"Book {number % 977} is of {1900 + number % 89}."


def resident() -> float:
    """Peak resident memory of this process, MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def memory(judge: str, few: int = 10_000, many: int = 100_000) -> dict[str, Any]:
    """Of a judge whose models have learned nothing: QAGS asks then, but nothing of it passes its filters."""
    started = time.perf_counter()
    command = [sys.executable, "-c", STREAM, str(few), str(many), judge]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    peaks = [round(value, 1) for value in json.loads(result.stdout).values()]
    return {"documents": [few, many], "peak_mib": peaks, "seconds": round(time.perf_counter() - started, 1)}


# All


def ratios(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float]:
    found = [one / other for one, other in zip(slow, fast, strict=True)]
    return {"median": round(statistics.median(found), 2), "least": round(min(found), 2), "most": round(max(found), 2)}


def measure(models: Models) -> dict[str, Any]:
    rows = list(generate.documents(make_world(1), 99, EXAMPLES, generate.Noise()))
    documents, summaries = [row["document"] for row in rows], [row["summary"] for row in rows]
    our_qags = QagsSettings()
    rng = random.Random(0)

    def as_published() -> None:
        for pair in zip(documents, summaries, strict=True):
            published_qags(models.qags, *pair, rng)

    def sixty_pairs() -> None:
        with patch("factloop.judges.quals.keep_pairs", every_hypothesis):
            quals(models.qagen, documents, summaries, ALL_PAIRS)

    judges: dict[str, Callable[[], object]] = {
        "quals, 60 groups, 60 pairs": sixty_pairs,
        "quals, 60 groups, 60 pairs, plain": lambda: plain_quals(models.qagen, documents, summaries, ALL_PAIRS, every_hypothesis),
        "quals, 60 groups, 10 pairs": lambda: quals(models.qagen, documents, summaries, PUBLISHED),
        "quals, 16 groups, 10 pairs": lambda: quals(models.qagen, documents, summaries, QualsSettings()),
        "qags, 10 hypotheses": lambda: qags(models.qags, documents, summaries, our_qags),
        "qags, 4 hypotheses": lambda: qags(models.qags, documents, summaries, replace(our_qags, hypotheses=4)),
        "qags as published": as_published,
    }
    seconds: dict[str, list[float]] = {name: [] for name in judges}
    quals(models.qagen, documents, summaries, QualsSettings())  # the first call of all pays for what is loaded late
    for _ in range(ROUNDS):
        for name, judge in judges.items():
            started = time.perf_counter()
            judge()
            seconds[name].append(time.perf_counter() - started)
    choices = same_choices(models.qagen, 400)
    equal = {"float32": same_scores(models.qagen, documents, summaries, ALL_PAIRS)}
    models.qagen.model.double()
    equal["float64"] = same_scores(models.qagen, documents, summaries, ALL_PAIRS)
    return {
        "examples": EXAMPLES,
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "examples_per_second": {name: round(EXAMPLES / statistics.median(values), 2) for name, values in seconds.items()},
        "plain over batched QUALS": ratios(seconds["quals, 60 groups, 60 pairs, plain"], seconds["quals, 60 groups, 60 pairs"]),
        "QAGS as published over batched QUALS": {
            name: ratios(seconds["qags as published"], seconds[name])
            for name in ("quals, 60 groups, 10 pairs", "quals, 16 groups, 10 pairs")
        },
        "batched QAGS over batched QUALS": {
            name: ratios(seconds[name], seconds["quals, 60 groups, 10 pairs"]) for name in ("qags, 10 hypotheses", "qags, 4 hypotheses")
        },
        "same_scores": equal,
        "batches of 64, and of 7 in another order with one thread": choices,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="take the models from there, or leave them there")
    options = parser.parse_args()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.models or Path(scratch)
        if not (folder / "qagen").exists():
            train(folder)
        found = measure(load(folder))
    found["memory"] = {judge: memory(judge) for judge in ("quals", "qags", "factcc")}
    quick = found["plain over batched QUALS"]["median"] >= QUALS_FASTER
    exact = all(found["same_scores"][kind]["largest_difference"] <= most for kind, most in (("float32", 1e-4), ("float64", 1e-9)))
    choices = found["batches of 64, and of 7 in another order with one thread"]
    alike = choices["same_pairs"] >= 0.995 * choices["summaries"] and choices["largest_difference"] <= 1e-4
    slow = found["QAGS as published over batched QUALS"]["quals, 16 groups, 10 pairs"]["median"] >= QAGS_SLOWER
    flat = all(many - few < 0.02 * few for one in found["memory"].values() for few, many in [one["peak_mib"]])
    result = {
        "command": " ".join(["python -m benchmarks.judge_speed", *sys.argv[1:]]),
        "commit": commit_of(ROOT),
        "machine": f"{os.cpu_count()} cores, {processor()}, {torch.get_num_threads()} threads",
        "held": {
            "5 times plain QUALS, 60 pairs a summary": quick,
            "same scores": exact,
            "same pairs": alike,
            "55 times QAGS as published, by default": slow,
            "constant memory": flat,
        },
        **found,
    }
    path = ROOT / "benchmarks" / "results" / "judge_speed.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "seconds"}, indent=1))
    return 0 if all(result["held"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
