"""Table question answering: one encoder, a decoder for sentences and a decoder for cells."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..decoding import beam_search
from ..seq2seq import Seq2Seq
from ..settings import TrainingSettings
from ..training import Progress, fit, likelihood
from .linearise import linearise

FORMS = ("long", "short")


@dataclass
class TableQA:
    long: Seq2Seq
    short: Seq2Seq
    """Shares every parameter outside the decoder with `long`."""

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
        return loaded

    def save(self, folder: Path) -> None:
        self.long.save(folder)
        own = {name: value.detach().contiguous() for name, value in self.short.model.named_parameters() if _is_decoder(name)}
        save_file(own, folder / "short_decoder.safetensors")

    def answer(self, questions: Sequence[dict[str, Any]], form: str) -> list[str]:
        """Answers to rows with question, title, header and rows, by beam search."""
        side = self.long if form == "long" else self.short
        return beam_search(side, [as_source(row) for row in questions], f"{form} answers")


def _is_decoder(name: str) -> bool:
    return "decoder" in name


def as_source(row: dict[str, Any]) -> list[str]:
    return linearise(row["question"], row["title"], row["header"], row["rows"])


def train_table_qa(
    table_qa: TableQA,
    questions: Sequence[dict[str, Any]],
    settings: TrainingSettings,
    seed: int,
    checkpoints: Path,
    progress: Progress,
) -> list[dict[str, float]]:
    """Train both decoders in place on rows with `answer` (long), `short_answer`, or both.

    Every batch mixes the forms, each decoder with the mean over its own tokens; where the
    published pretraining alternates whole batches of one form, the expectation is the same.
    """
    sides = {"long": table_qa.long, "short": table_qa.short}
    fields = {"long": "answer", "short": "short_answer"}
    examples: list[tuple[str, list[int], list[int]]] = []
    for form in FORMS:
        rows = [row for row in questions if row.get(fields[form])]
        sources = sides[form].sources([as_source(row) for row in rows])
        targets = sides[form].targets([[row[fields[form]]] for row in rows])
        examples += [(form, source, target) for source, target in zip(sources, targets, strict=True)]

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
    return fit(model, loss, examples, lengths, settings, seed, checkpoints, progress)
