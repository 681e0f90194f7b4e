"""A base with linear heads over its states: classes of a text, and spans within it.

In: padded source ids, and what to read against them. Out: states, and for each head its scores at every token.
Judges that answer from a text rather than write are made of it: QAGS's answer extractor of the encoder alone, its
question answerer and FactCC of the decoder too, since a small base knows with all its layers what a text bears out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    heads: nn.ModuleDict

    @classmethod
    def from_base(cls, base: Seq2Seq, outputs: Mapping[str, int], seed: int) -> Reader:
        """New heads, each of so many outputs a token."""
        width = base.model.get_encoder().config.hidden_size
        torch.manual_seed(seed)
        heads = nn.ModuleDict({name: nn.Linear(width, count) for name, count in outputs.items()})
        return cls(base, heads.to(base.device))

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu") -> Reader:
        """Load a folder that `save` wrote: safetensors and JSON."""
        weights = load_file(Path(folder, HEADS), device=device)
        outputs = {name.removesuffix(".bias"): len(value) for name, value in weights.items() if name.endswith(".bias")}
        reader = cls.from_base(Seq2Seq.load(folder, device), outputs, 0)
        reader.heads.load_state_dict(weights)
        return reader

    def save(self, folder: Path) -> None:
        self.seq2seq.save(folder)
        save_file({name: value.detach().contiguous() for name, value in self.heads.state_dict().items()}, folder / HEADS)

    @property
    def encoder(self) -> nn.Module:
        """The encoder and the heads: what training changes where nothing is read with the decoder."""
        return nn.ModuleDict({"encoder": self.seq2seq.model.get_encoder(), "heads": self.heads})

    @property
    def whole(self) -> nn.Module:
        """The model and the heads."""
        return nn.ModuleDict({"model": self.seq2seq.model, "heads": self.heads})

    def __call__(self, source: Tensor) -> dict[str, Tensor]:
        """Scores [batch, length, outputs] by head, of padded source ids [batch, length]."""
        states = self.seq2seq.encode(source)
        return {name: head(states) for name, head in self.heads.items()}

    def against(self, states: Tensor, source: Tensor, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """The decoder's states [batch, 1 + length, width] of texts (ids, the end token last) read after its start token against
        encoder states, and the state [batch, width] at each end token, which has seen all of its text.
        """
        model = self.seq2seq
        asked = model.pad_batch([[model.start, *ids] for ids in texts])
        ends = torch.tensor([len(ids) for ids in texts], device=asked.device)
        decoder: nn.Module = model.model.get_decoder().base_model
        found: Tensor = decoder(
            input_ids=asked,
            attention_mask=(torch.arange(asked.shape[1], device=asked.device) <= ends[:, None]).long(),
            encoder_hidden_states=states,
            encoder_attention_mask=(source != model.pad).long(),
            use_cache=False,
        ).last_hidden_state
        return found, found[torch.arange(len(texts), device=asked.device), ends]

    def pointed(self, state: Tensor, states: Tensor) -> Tensor:
        """Scores [batch, first and last, length] of where heads of those names over a state [batch, width] point (Vinyals et al. 2015)."""
        pointers = torch.stack([self.heads["first"](state), self.heads["last"](state)], 1)
        return pointers @ states.transpose(1, 2) / math.sqrt(states.shape[-1])
