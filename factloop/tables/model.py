"""Table question answering: one encoder, a decoder for sentences and a decoder for cells."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..decoding import beam_search
from ..seq2seq import Seq2Seq
from ..settings import TrainingSettings
from ..training import Progress, fit, likelihood
from .truncate import Fitted, fit_table, lost_evidence

FORMS = ("long", "short")


@dataclass(frozen=True)
class Answering:
    """When a model may say that a table holds the answer."""

    threshold: float = 0.5
    """The least probability of the short answer."""
    cells_only: bool = True
    """Whether every short answer it learned is a cell, so that one which is none is wrong."""
    examples: int = 0
    """Validation questions that the threshold was chosen on; 0: there were too few, and it is as it is by default."""


@dataclass
class TableQA:
    long: Seq2Seq
    short: Seq2Seq
    """Shares every parameter outside the decoder with `long`."""
    answering: Answering = Answering()

    @classmethod
    def from_base(cls, base: Seq2Seq) -> TableQA:
        """Both decoders start as copies of the base's; the encoder is the same object."""
        shared = {id(value): value for name, value in base.model.named_parameters() if not _is_decoder(name)}
        return cls(base, Seq2Seq(copy.deepcopy(base.model, shared), base.tokenizer, base.window))

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> TableQA:
        loaded = cls.from_base(Seq2Seq.load(folder, device))
        weights = load_file(folder / "short_decoder.safetensors", device=device)
        missing, unexpected = loaded.short.model.load_state_dict(weights, strict=False)
        own = {name for name, _ in loaded.short.model.named_parameters() if _is_decoder(name)}
        if unexpected or own & set(missing):
            raise ValueError(f"{folder}: the short decoder does not fit: {unexpected or own & set(missing)}")
        settings = folder / "answering.json"
        loaded.answering = Answering(**json.loads(settings.read_text())) if settings.exists() else Answering()
        return loaded

    def save(self, folder: Path) -> None:
        self.long.save(folder)
        own = {name: value.detach().contiguous() for name, value in self.short.model.named_parameters() if _is_decoder(name)}
        save_file(own, folder / "short_decoder.safetensors")
        (folder / "answering.json").write_text(json.dumps(asdict(self.answering)))

    def fitted(self, row: dict[str, Any], answer: str | None = None) -> Fitted:
        """The input for a row with question, title, header and rows, cut to the window; for training by its answer, too."""

        def lengths(texts: Sequence[str]) -> list[int]:
            return list(map(len, self.long.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]))

        return fit_table(row["question"], row["title"], row["header"], row["rows"], answer, self.long.window.source - 1, lengths)

    def answer(self, questions: Sequence[dict[str, Any]], form: str) -> list[str]:
        """Answers to rows with question, title, header and rows, by beam search."""
        side = self.long if form == "long" else self.short
        return beam_search(side, [self.fitted(row).parts for row in questions], f"{form} answers")


def _is_decoder(name: str) -> bool:
    return "decoder" in name


def train_table_qa(
    table_qa: TableQA,
    questions: Sequence[dict[str, Any]],
    settings: TrainingSettings,
    seed: int,
    checkpoints: Path,
    progress: Progress,
) -> int:
    """Train both decoders in place on rows with `answer` (long), `short_answer`, or both.

    An answer that states cells which do not fit into the window is left out, lest the model learns to make
    such things up; returns how many were. Every batch mixes the forms, each decoder with the mean over its own tokens; where the
    published pretraining alternates whole batches of one form, the expectation is the same.
    """
    sides = {"long": table_qa.long, "short": table_qa.short}
    fields = {"long": "answer", "short": "short_answer"}
    examples: list[tuple[str, list[int], list[int]]] = []
    left_out = 0
    for form in FORMS:
        given = [(row, table_qa.fitted(row, row[fields[form]])) for row in questions if row.get(fields[form])]
        fit_in = [(row, fitted) for row, fitted in given if not lost_evidence(fitted, row["rows"], row[fields[form]])]
        left_out += len(given) - len(fit_in)
        sources = sides[form].sources([fitted.parts for _, fitted in fit_in])
        targets = sides[form].targets([[row[fields[form]]] for row, _ in fit_in])
        examples += [(form, source, target) for source, target in zip(sources, targets, strict=True)]

    if left_out:
        print(
            f"{progress.name}: {left_out} of {left_out + len(examples)} answers left out: their table does not fit the window", flush=True
        )

    def loss(batch: list[tuple[str, list[int], list[int]]]) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for form, side in sides.items():
            part = [(source, target) for kind, source, target in batch if kind == form]
            if part:
                target = side.pad_batch([ids for _, ids in part])
                logits = side.logits(side.pad_batch([ids for ids, _ in part]), target)
                values[f"{form}_loss"] = likelihood(logits, target, side.pad, settings.label_smoothing)
        return {"loss": sum(values.values(), start=Tensor([0.0]).to(table_qa.long.device).squeeze())} | values

    model = nn.ModuleDict({form: side.model for form, side in sides.items()})
    lengths = [len(source) + len(target) for _, source, target in examples]
    fit(model, loss, examples, lengths, settings, seed, checkpoints, progress)
    return left_out
