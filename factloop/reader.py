"""A base's encoder with linear heads over its states: classes of a text, and spans within it.

In: padded source ids. Out: for each head its scores at every token. Judges that answer from a
text rather than write are made of it (QAGS's question answerer, FactCC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .seq2seq import Seq2Seq

HEADS = "heads.safetensors"


@dataclass
class Reader:
    seq2seq: Seq2Seq
    """Of which the encoder is used; the decoder is kept as it was."""
    heads: nn.ModuleDict

    @classmethod
    def from_base(cls, base: Seq2Seq, outputs: Mapping[str, int], seed: int) -> Reader:
        """New heads, each of so many outputs a token."""
        width = base.model.get_encoder().config.hidden_size
        torch.manual_seed(seed)
        heads = nn.ModuleDict({name: nn.Linear(width, count) for name, count in outputs.items()})
        return cls(base, heads.to(base.device))

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Reader:
        """Load a folder that `save` wrote: safetensors and JSON."""
        weights = load_file(folder / HEADS, device=device)
        outputs = {name.removesuffix(".bias"): len(value) for name, value in weights.items() if name.endswith(".bias")}
        reader = cls.from_base(Seq2Seq.load(folder, device), outputs, 0)
        reader.heads.load_state_dict(weights)
        return reader

    def save(self, folder: Path) -> None:
        self.seq2seq.save(folder)
        save_file({name: value.detach().contiguous() for name, value in self.heads.state_dict().items()}, folder / HEADS)

    @property
    def trained(self) -> nn.Module:
        """What training changes: the encoder and the heads."""
        return nn.ModuleDict({"encoder": self.seq2seq.model.get_encoder(), "heads": self.heads})

    def __call__(self, source: Tensor) -> dict[str, Tensor]:
        """Scores [batch, length, outputs] by head, of padded source ids [batch, length]."""
        states = self.seq2seq.encode(source)
        return {name: head(states) for name, head in self.heads.items()}
