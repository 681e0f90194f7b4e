"""What GenTaP's pretraining gains on the world, beside the same number of steps spent otherwise, over several worlds.

    python -m benchmarks.pretraining                        # worlds 401 to 405, two at a time with a thread each: over an hour
    python -m benchmarks.pretraining --worlds 401 --work ~/pretraining
    python -m benchmarks.pretraining --fine-tuning 240      # the arms alone, fine-tuned for longer: pretraining-240.json

In a clone of the last commit for each world, with the settings of profile `world` but for what `prepare` changes, one base is trained on by
each of `ARMS` for the same number of steps, then fine-tuned on the same 500 questions, and measured on the same 300 of other tables. Tables,
wordings and questions of pretraining (sentences of pages, questions written for them, the grammar's) are none of fine-tuning's. Then two few-shot
curves of 50 to 500 examples, from the base and from the pretrained model: the same questions; and a row of a table of `TOPIC` to the sentence that states it.
Intervals are over worlds and examples. What is done stays in `--work`, so that a run goes on where it ended.
Written to `benchmarks/results/pretraining.json` and `pretraining.png`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.run import DATA, ROOT, commit_of, environment, fresh_clone, processor
from factloop.corpora.rows import read_rows, write_rows
from factloop.world.oracle import parse

FINE_TUNED, TESTED = 500, 300
ARMS = {
    "nothing": "the base as it is: the only arm of fewer steps",
    "denoising": "masked text of the base's own denoising",
    "shuffled": "the questions of `both`, each with the table of another",
    "long": "sentences and the questions written for them",
    "short": "the grammar's questions",
    "both": "as many long as short: GenTaP",
}
UNTUNED = ("both", "long", "shuffled")  # measured before fine-tuning, too
TOPIC, ASKED = ("Player list", "Coach list"), "What does the row say?"
SIZES, SHOTS = (50, 100, 200, 500), 60
METRICS = ("bleu", "meteor", "rouge1", "rouge2", "rougeL", "cells", "true")
MEASURED = ("bleu_lowercase", "short_exact", "held_accuracy")  # by the evaluation, beside these
DRAWS = 2000
Rows = list[dict[str, Any]]


def prepare(world: int, clone: Path) -> None:
    """Fewer documents and passages, which no table question answerer sees but through the base and the question generator, and more table questions to test on."""
    fresh_clone(clone)
    path = clone / "configs" / "world.yaml"
    profile = yaml.safe_load(path.read_text())
    profile |= {"seed": world, "threads": 1}
    profile["data"]["source"] |= {"seed": world, "documents": 9000, "passages": 10000, "table_questions": 12000}
    profile["data"] |= {"split": {"validation": 0.02, "test": 0.1}, "claims": {"pairs": 2, "documents": 300, "reference_share": 0.6}}
    path.write_text(yaml.safe_dump(profile))


class Steps:
    """Steps of the library in folders of their own, each done once."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def once(self, name: str, step: Callable[..., dict[str, Any]], config: dict[str, Any], inputs: dict[str, Path]) -> Path:
        from tasks.progress import Silent

        out = self.work / name
        if not (out / "metrics.json").exists():
            scratch = self.work / f"{name}.unfinished"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            found = step({**config, "device": "cpu"}, inputs, scratch, self.work / f"{name}.checkpoints", Silent(name))
            (scratch / "metrics.json").write_text(json.dumps(found))
            scratch.rename(out)
            shutil.rmtree(self.work / f"{name}.checkpoints", ignore_errors=True)
            print(name, found, flush=True)
        return out


def dealt(rows: Rows, seed: int) -> Rows:
    """The same questions and answers, each with the title, header and rows of another."""
    others = random.Random(seed).sample(rows, len(rows))
    return [row | {name: other[name] for name in ("title", "header", "rows")} for row, other in zip(rows, others, strict=True)]


def pretrain(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Any) -> dict[str, Any]:
    """As `factloop.steps.tables.pretrain`, of the forms that an arm names."""
    from factloop.seq2seq import Seq2Seq
    from factloop.settings import TrainingSettings
    from factloop.tables.model import TableQA, train_table_qa

    long, short = (list(read_rows(inputs[form])) for form in ("long", "short"))
    count = min(len(long), len(short))
    rows = (long[:count] if config["arm"] != "short" else []) + (short[:count] if config["arm"] != "long" else [])
    model = TableQA.from_base(Seq2Seq.load(inputs["base"], "cpu"))
    rows = dealt(rows, config["seed"]) if config["arm"] == "shuffled" else rows
    train_table_qa(model, rows, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    model.save(out / "model")
    return {"questions": len(rows)}


def denoise_on(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Any) -> dict[str, Any]:
    from factloop.base import denoise
    from factloop.seq2seq import Seq2Seq
    from factloop.settings import TrainingSettings
    from factloop.tables.model import TableQA

    base = Seq2Seq.load(inputs["base"], "cpu")
    texts = [row[name] for name in config["fields"] for row in read_rows(inputs["texts"])]
    denoise(base, texts, TrainingSettings(**config["training"]), config["seed"], checkpoints, progress)
    TableQA.from_base(base).save(out / "model")
    return {"texts": len(texts)}


def untrained(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Any) -> dict[str, Any]:
    from factloop.seq2seq import Seq2Seq
    from factloop.tables.model import TableQA

    TableQA.from_base(Seq2Seq.load(inputs["base"], "cpu")).save(out / "model")
    return {}


def executed(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Any) -> dict[str, Any]:
    """The share of the grammar's questions about tables that no model has seen whose answer is what their logical form gives."""
    from factloop.tables.answer import answered
    from factloop.tables.model import TableQA
    from factloop.tables.questions import draw_questions

    asked = [
        {**row, **drawn}
        for row in list(read_rows(inputs["questions"]))[: config["examples"]]
        for drawn in draw_questions(row, random.Random(row["id"]), 1)
    ]
    shorts, _ = answered(TableQA.load(inputs["model"] / "model"), asked)
    right = [short == row["short_answer"] for short, row in zip(shorts, asked, strict=True)]
    return {"asked": len(asked), "right": sum(right) / len(asked)}


def world_steps(world: int, clone: Path, work: Path, fine_tuning: int) -> None:
    """All trainings and measurements of one world, in its clone."""
    from factloop.steps import base, tables
    from tasks.profiles import load_profile

    profile, steps = load_profile("world"), Steps(work)
    if not (clone / "data" / "world" / "split").exists():
        subprocess.run([sys.executable, "-c", DATA.format(profile="world")], check=True)
    split = clone / "data" / "world" / "split"
    files = {path.stem: path for path in split.glob("*.jsonl")}
    of_base = {"summaries": files["summaries.train"], "questions": files["questions.train"], "tables": files["table_questions.train"]}
    start = steps.once("base", base.train, profile.base.model_dump() | {"seed": world}, of_base)
    generator = steps.once(
        "generator",
        tables.train_question_generator,
        {"training": asdict(profile.tables.question_generator), "seed": world},
        {"base": start / "model", "questions": files["questions.train"]},
    )
    # Without the judge that would drop 1% of them: it takes longer to train than all else here.
    written = steps.once(
        "written",
        tables.write_questions,
        {"check": True, "answered": 0},
        {"generator": generator / "model", "mined": files["mined"], "qagen": Path()},
    )
    training, given = asdict(profile.tables.pretraining), {"base": start / "model"}
    forms = {"long": written / "questions.jsonl", "short": files["short_questions"]}
    models = {"nothing": steps.once("pretrained-nothing", untrained, {}, given)}
    models["denoising"] = steps.once(
        "pretrained-denoising",
        denoise_on,
        {"training": training, "seed": world, "fields": ["document", "summary"]},
        given | {"texts": files["summaries.train"]},
    )
    for arm in ("both", "shuffled", "long", "short"):
        models[arm] = steps.once(f"pretrained-{arm}", pretrain, {"training": training, "seed": world, "arm": arm}, given | forms)
    tuning: dict[str, Any] = {"seed": world, "short_answers": profile.data.short_answers, "training": asdict(profile.tables.fine_tuning)}
    asked = {"questions": files["table_questions.train"], "validation": files["table_questions.validation"]}
    test = {"questions": files["table_questions.test"]}
    longer = f"-{fine_tuning}-steps" if fine_tuning else ""
    tuning["training"] |= {"steps": fine_tuning} if fine_tuning else {}
    for arm, model in models.items():
        tuned = steps.once(f"tuned-{arm}{longer}", tables.fine_tune, tuning | {"examples": FINE_TUNED}, {"pretrained": model} | asked)
        steps.once(f"measured-{arm}{longer}", tables.evaluate, {"examples": TESTED, "meteor": True}, {"model": tuned / "model"} | test)
    if fine_tuning:
        return
    for arm in UNTUNED:
        steps.once(
            f"measured-{arm}-untuned", tables.evaluate, {"examples": TESTED, "meteor": True}, {"model": models[arm] / "model"} | test
        )
    for arm in ("both", "short"):
        steps.once(f"executed-{arm}", executed, {"examples": TESTED}, {"model": models[arm]} | test)
    for size in SIZES:
        for arm in ("nothing", "both"):
            tuned = steps.once(f"tuned-{arm}-{size}", tables.fine_tune, tuning | {"examples": size}, {"pretrained": models[arm]} | asked)
            steps.once(
                f"measured-asked-{size}-{arm}", tables.evaluate, {"examples": TESTED, "meteor": True}, {"model": tuned / "model"} | test
            )
    few = {part: work / f"few-{part}.jsonl" for part in ("train", "validation", "test")}
    for part, path in few.items():
        write_rows(path, [as_text(row) for row in read_rows(files[f"table_questions.{part}"]) if row["title"] in TOPIC])
    shown = {"questions": few["train"], "validation": few["validation"]}
    for size in SIZES:
        for arm in ("nothing", "both"):
            training = tuning["training"] | {"steps": SHOTS, "warmup": 10}
            tuned = steps.once(
                f"few-{size}-{arm}",
                tables.fine_tune,
                tuning | {"training": training, "examples": size},
                {"pretrained": models[arm]} | shown,
            )
            steps.once(
                f"measured-few-{size}-{arm}",
                tables.evaluate,
                {"examples": TESTED, "meteor": True},
                {"model": tuned / "model", "questions": few["test"]},
            )


def states(text: str, line: list[str]) -> bool:
    return all(cell.lower() in text.lower() for cell in line)


def told(rows: list[list[str]], reference: str) -> list[str]:
    """The row that a reference states: references state all cells of theirs."""
    return next(line for line in rows if states(reference, line))


def as_text(row: dict[str, Any]) -> dict[str, Any]:
    """The row of a question's table that answers it, to be put in words."""
    return {**row, "question": ASKED, "rows": [told(row["rows"], row["answer"])], "short_answer": None}


def statistic(metric: str) -> tuple[Callable[[dict[str, Any]], Any], Callable[[Any], float]]:
    """What an example adds to a metric's sums, and the metric of such sums.

    In percent, `cells`: whether an answer has every cell of the right row; `true`: whether it states that row's fact, in any wording of the world.
    """
    from factloop.metrics import corpus_bleu, corpus_meteor
    from factloop.statistics.bootstrap import mean

    if metric in ("bleu", "meteor"):
        return lambda row: row[f"{metric}_statistics"], {"bleu": corpus_bleu, "meteor": corpus_meteor}[metric]
    if metric == "cells":
        return lambda row: [100.0 * states(row["output"], told(row["table"]["rows"], row["reference"])), 1.0], mean
    if metric == "true":
        return lambda row: [100.0 * (parse(row["output"]) == parse(row["reference"])), 1.0], mean
    return lambda row: [row["scores"][metric], 1.0], mean


def against(one: dict[int, Rows], other: dict[int, Rows], metric: str) -> dict[str, float]:
    """How much higher a metric is, in percent of the other's, its mean over worlds with worlds and their examples drawn anew."""
    of_row, of_sums = statistic(metric)
    tables = [[np.array([of_row(row) for row in found[world]], dtype=float) for found in (one, other)] for world in one]
    drawn = np.random.default_rng(0)

    def gain(parts: list[list[Any]]) -> float:
        first, second = (np.mean([of_sums(pair[side].sum(0)) for pair in parts]) for side in (0, 1))
        return float(100 * (first / second - 1))

    def draw(pair: list[Any]) -> list[Any]:
        chosen = drawn.integers(len(pair[0]), size=len(pair[0]))
        return [table[chosen] for table in pair]

    draws = [gain([draw(tables[place]) for place in drawn.integers(len(tables), size=len(tables))]) for _ in range(DRAWS)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"value": gain(tables), "low": float(low), "high": float(high)}


def summary(works: dict[int, Path], fine_tuning: int) -> dict[str, Any]:
    def rows(name: str) -> dict[int, Rows]:
        return {world: list(read_rows(work / f"measured-{name}" / "examples.jsonl")) for world, work in works.items()}

    def metrics(name: str) -> dict[str, list[float]]:
        found = [json.loads((work / f"measured-{name}" / "metrics.json").read_text()) for work in works.values()]
        measured = {metric: [one[metric]["value"] for one in found] for metric in MEASURED if metric in found[0]}
        for metric in METRICS:
            of_row, of_sums = statistic(metric)
            measured[metric] = [of_sums(np.array([of_row(row) for row in some], dtype=float).sum(0)) for some in rows(name).values()]
        return {metric: [round(value, 3) for value in values] for metric, values in measured.items()}

    def higher(found: dict[str, dict[int, Rows]], pairs: list[tuple[str, str]]) -> dict[str, Any]:
        return {f"{one} than {other}": {metric: against(found[one], found[other], metric) for metric in METRICS} for one, other in pairs}

    to_both = [("both", arm) for arm in ARMS if arm != "both"]
    if fine_tuning:
        names = {arm: f"{arm}-{fine_tuning}-steps" for arm in ARMS}
        return {
            "arms": {arm: metrics(name) for arm, name in names.items()},
            "percent higher": higher({arm: rows(name) for arm, name in names.items()}, to_both),
        }
    of_arms = {name: rows(name) for name in (*ARMS, *(f"{arm}-untuned" for arm in UNTUNED))}

    def curve(task: str) -> dict[int, Any]:
        found = {size: {arm: rows(f"{task}-{size}-{arm}") for arm in ("nothing", "both")} for size in SIZES}
        return {
            size: {arm: metrics(f"{task}-{size}-{arm}") for arm in some}
            | {"percent higher": {metric: against(some["both"], some["nothing"], metric) for metric in METRICS}}
            for size, some in found.items()
        }

    return {
        "arms": {name: metrics(name) for name in of_arms},
        "percent higher": higher(of_arms, [*to_both, ("both-untuned", "nothing"), ("both-untuned", "both")]),
        "answers as executed": {
            arm: [json.loads((work / f"executed-{arm}" / "metrics.json").read_text()) for work in works.values()]
            for arm in ("both", "short")
        },
        "few-shot": {"questions": curve("asked"), "a row to its sentence": curve("few")},
    }


def plot(found: dict[str, Any], path: Path) -> None:
    """The few-shot curves by BLEU, a point for each world and a line for their mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axis, (task, curve) in zip(axes, found["few-shot"].items(), strict=True):
        for arm, label in (("both", "pretrained"), ("nothing", "not pretrained")):
            values = np.array([some[arm]["bleu"] for some in curve.values()])
            (line,) = axis.plot(SIZES, values.mean(1), marker="o", label=label)
            axis.plot(SIZES, values, ".", color=line.get_color(), alpha=0.4)
        axis.set(xscale="log", xticks=SIZES, xticklabels=SIZES, xlabel="examples", ylabel="BLEU", title=task)
        axis.minorticks_off()
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[401, 402, 403, 404, 405], metavar="SEED")
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-pretraining", metavar="FOLDER")
    parser.add_argument("--fine-tuning", type=int, default=0, metavar="STEPS", help="in place of the profile's")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)  # world that this process, in its clone, takes its steps of
    options = parser.parse_args()
    work = options.work.resolve()
    if options.one:
        world_steps(options.one, ROOT, work / f"{options.one}-steps", options.fine_tuning)
        return

    def alone(world: int) -> None:
        clone = work / str(world)
        if not clone.exists():
            prepare(world, clone)
        given = ["--one", str(world), "--work", str(work), "--fine-tuning", str(options.fine_tuning)]
        command = [sys.executable, "-m", "benchmarks.pretraining", *given]
        with (work / f"{world}.log").open("a") as log:
            subprocess.run(command, cwd=clone, env=environment() | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, check=True)

    work.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as two:
        list(two.map(alone, options.worlds))
    clone = work / str(options.worlds[0])
    result = {
        "command": " ".join(["python -m benchmarks.pretraining", *sys.argv[1:]]),
        "commit": commit_of(clone),
        "machine": f"{os.cpu_count()} cores, {processor()}; two worlds at a time, one thread each",
        "worlds": options.worlds,
        "what each arm is trained on": ARMS,
    } | summary({world: work / f"{world}-steps" for world in options.worlds}, options.fine_tuning)
    results, name = ROOT / "benchmarks" / "results", f"pretraining-{options.fine_tuning}" if options.fine_tuning else "pretraining"
    (results / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    if not options.fine_tuning:
        plot(result, results / f"{name}.png")
    print(json.dumps(result["percent higher"], indent=1))


if __name__ == "__main__":
    main()
