"""Does the truth follow the judge? Validation documents summarised and judged between rounds of contrast, and during one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..contrast.mix import Mix, mix_over, mixed
from ..contrast.train import Stop
from ..corpora.rows import Row, read_rows, write_rows
from ..decoding import beam_search
from ..metrics import overlap_features
from ..seq2seq import Seq2Seq
from ..settings import BeamSettings, ValidationSettings
from ..statistics import Estimate, interval
from ..statistics.parting import Evaluation, parted
from ..training import CannotTrain, Progress, TrainingDiverged
from ..training.checkpoints import load_checkpoint, save_checkpoint
from ..training.fit import log_every
from ..training.processes import add_up, join, rank, say, wait
from ..world.generate import Fact
from ..world.oracle import fact_recall, hallucinates
from . import summarizer
from .judging import judge_pairs
from .summaries import add_rouge

ENDS = (("", "value"), (".low", "low"), (".high", "high"))
OTHERS = ("factcc", "qags", "quals")  # judges that stand for the truth where there is no oracle and the score is not theirs


def validate(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """Inputs `model`, and those of `judged`: its summaries of validation documents with the score that contrast chooses by,
    a second measure, and on the world `fact_recall`."""
    rows = judged(Seq2Seq.load(inputs["model"], config["device"]), config, inputs, checkpoints, progress)
    write_rows(out / "validation.jsonl", rows)
    return {name: asdict(estimate) for name, estimate in estimates(rows).items()} | {"documents": len(rows)}


def judged(model: Seq2Seq, config: dict[str, Any], inputs: dict[str, Path], checkpoints: Path, progress: Progress) -> list[Row]:
    """Inputs `validation` (documents), `mix` (the scores whose scales count) and training judges as `judge_pairs` takes them.

    Each row's `scores` has `score` and, named by `measure`, the second one: what the world's oracle says, else a judge that
    the score is not of, else the share of values that the document has. Raises CannotTrain where there is no document, or no
    summary has one of the two.
    """
    rows = list(read_rows(inputs["validation"]))[: config["validation"]["documents"]]
    if not rows:
        raise CannotTrain(f"{progress.name}: the data has no validation documents to judge by: raise data.split.validation")
    mix = mix_over(config["score"], list(read_rows(inputs["mix"] / "scores.jsonl")))
    documents = [row["document"] for row in rows]
    outputs = beam_search(model, [[text] for text in documents], progress.name, BeamSettings(**config["decoding"]))
    verdicts = judge_pairs(config, inputs, list(zip(documents, outputs, strict=True)), checkpoints, progress)
    found = []
    for row, output, verdict in zip(rows, outputs, verdicts, strict=True):
        add_rouge(row["summary"], {output: verdict})
        second = _second(row, output, verdict, mix)
        scores = {"score": mixed(mix, verdict["scores"])} | second
        found.append({"id": row["id"], "output": output, "measure": next(iter(second)), "scores": scores})
    for name in ("score", found[0]["measure"]):
        if all(row["scores"][name] is None for row in found):
            by = ", ".join(mix) if name == "score" else name
            raise CannotTrain(f"{progress.name}: of {len(found)} validation documents no summary has a score by {by}")
    return found


def _second(row: Row, output: str, verdict: Row, mix: Mix) -> dict[str, float | None]:
    """The second measure, first, and what is to be seen beside it."""
    if "facts" in row:
        facts, wanted = ([Fact(**fact) for fact in row[name]] for name in ("facts", "summary_facts"))
        return {"hallucination_rate": float(hallucinates(output, facts)), "fact_recall": fact_recall(output, wanted)}
    chosen_by = {name.partition("_")[0] for name in mix}
    for judge in OTHERS:
        if judge in verdict["scores"] and judge not in chosen_by:
            return {judge: verdict["scores"][judge]}
    return {"values": overlap_features(row["document"], output)["values"]}


def estimates(rows: list[Row]) -> dict[str, Estimate]:
    """Of each score that any row has, the mean with its interval."""
    tables = {name: [row["scores"][name] for row in rows] for name in rows[0]["scores"]}
    return {
        name: interval([float("nan") if value is None else value for value in values])
        for name, values in tables.items()
        if any(value is not None for value in values)
    }


class Watch:
    """Evaluations of a model in training, evenly over its steps; see `factloop.contrast.train.Onlooker`.

    Each is kept beside the checkpoints, as is the last good model: a training that goes on from a checkpoint decides as one that
    was not interrupted. Of several processes the first evaluates and decides for all.
    """

    def __init__(self, model: Seq2Seq, steps: int, config: dict[str, Any], inputs: dict[str, Path], checkpoints: Path, progress: Progress):
        self.model, self.steps, self.config, self.inputs, self.progress = model, steps, config, inputs, progress
        self.settings = ValidationSettings(**config["validation"])
        self.kept, self.good = checkpoints / "validated", checkpoints / "good"
        self.why = ""
        join(model.device.type)
        self.see(0)

    def __call__(self, step: int) -> None:
        last, many = (step - 1) // (every := log_every(self.steps)) * every, self.settings.evaluations
        if step * many // self.steps > last * many // self.steps:
            self.see(step)

    def see(self, step: int) -> None:
        """Evaluate; raises Stop where judge and second measure have parted for too long."""
        if rank() == 0:
            self._evaluate(step)
        add_up([ends := torch.tensor(float(bool(self.why)))])
        self.model.model.train()
        if ends:
            raise Stop

    def _evaluate(self, step: int) -> None:
        kept = self.kept / f"{step:08}.jsonl"
        earlier = sorted(path for path in self.kept.glob("*.jsonl") if path < kept)
        before = [Evaluation.of(f"step {int(path.stem)}", list(read_rows(path))) for path in earlier]
        place = self.kept / kept.stem
        rows = list(read_rows(kept)) if kept.exists() else judged(self.model, self.config, self.inputs, place, self.progress)
        history = [*before, Evaluation.of(f"step {step}", rows)]
        if not kept.exists():
            if not parted(history, 1):
                save_checkpoint(self.good, step, dict(self.model.model.named_parameters()), {})
            write_rows(kept, rows)  # last: what is kept is not looked at again
        told = {f"validation/{name}": asdict(estimate) for name, estimate in estimates(rows).items()}
        self.progress.log({f"{name}{end}": found[part] for name, found in told.items() for end, part in ENDS}, step)
        if apart := parted(history, self.settings.parted):
            self.why = apart.told

    def restore(self) -> int:
        wait()
        found = load_checkpoint(self.good)
        if not found or not found[0]:
            raise TrainingDiverged(
                f"{self.progress.name}: judge and truth part from the start: {self.why}; choose by another summarizer.score"
            )
        with torch.no_grad():
            for name, parameter in self.model.model.named_parameters():
                parameter.copy_(found[1][name])
        self.model.model.eval()
        say(f"{self.progress.name}: stopped: {self.why}, and is taken")
        return found[0]


def train_contrastive(config: dict[str, Any], inputs: dict[str, Path], out: Path, checkpoints: Path, progress: Progress) -> dict[str, Any]:
    """As that of `summarizer`, with evaluations on the way, and further inputs as `judged` takes them.

    Where the judge's score rises while the second measure gets worse, training stops and the last good model is kept.
    """

    def watch(model: Seq2Seq, steps: int) -> Watch:
        return Watch(model, steps, config, inputs, checkpoints, progress)

    return summarizer.train_contrastive(config, inputs, out, checkpoints, progress, watch)
