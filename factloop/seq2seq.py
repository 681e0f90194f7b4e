"""A sequence-to-sequence model with its tokenizer: what every other module trains and asks.

In: texts, as lists of segments. Out: padded id tensors, loaded and saved folders.

Special tokens are segments of their own type, so that a document or a cell which happens to
contain the characters `<sep>` is encoded as those characters and never as the token.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from .settings import Window


class Special(str):
    """A special token, as opposed to text that reads the same."""


SEP, ROW, COL, LINK, MASK = map(Special, ("<sep>", "<row>", "<col>", "<link>", "<mask>"))
SPECIALS = (SEP, ROW, COL, LINK, MASK)
Segments = Sequence[str]


def starts(count: int, room: int) -> range:
    """Where the pieces of a text of `count` tokens begin, at least one: each has `room` tokens, a quarter shared with the next."""
    return range(0, max(1, count - room // 4), max(1, room - room // 4))


@dataclass
class Seq2Seq:
    model: Any
    """An encoder-decoder of transformers: BART, or an EncoderDecoderModel."""
    tokenizer: Any
    window: Window

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu") -> Seq2Seq:
        """Load a folder that `save` wrote. Weights are safetensors; no code is taken from it."""
        model = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, trust_remote_code=False, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        window = Window(**json.loads(Path(folder, "window.json").read_text()))
        return cls(model.to(device).eval(), tokenizer, window)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / "window.json").write_text(json.dumps(asdict(self.window)))

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def pad(self) -> int:
        return int(self.tokenizer.pad_token_id)

    @property
    def eos(self) -> int:
        return int(self.model.generation_config.eos_token_id)

    @property
    def start(self) -> int:
        return int(self.model.generation_config.decoder_start_token_id)

    def special(self, token: Special) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(str(token)))

    def ids(self, texts: Sequence[Segments], limit: int) -> list[list[int]]:
        """Token ids of each text, cut to `limit` with the end token last."""
        flat = [part for text in texts for part in text if not isinstance(part, Special)]
        coded = iter(self.tokenizer(flat, add_special_tokens=False, split_special_tokens=True)["input_ids"] if flat else [])
        result = []
        for text in texts:
            ids: list[int] = []
            for part in text:
                ids += [self.special(part)] if isinstance(part, Special) else next(coded)
            result.append([*ids[: limit - 1], self.eos])
        return result

    def sources(self, texts: Sequence[Segments]) -> list[list[int]]:
        return self.ids(texts, self.window.source)

    def pieces(self, text: str) -> list[list[int]]:
        """Token ids of all of `text` in pieces of the source window, each with the end token, a quarter shared with the next."""
        ids = self.ids([[text]], sys.maxsize)[0][:-1]
        room = self.window.source - 1
        return [[*ids[start : start + room], self.eos] for start in starts(len(ids), room)]

    def targets(self, texts: Sequence[Segments]) -> list[list[int]]:
        return self.ids(texts, self.window.target)

    def pad_batch(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Rows of ids as one tensor [rows, longest], padded on the right."""
        longest = max(map(len, rows))
        padded = [[*row, *[self.pad] * (longest - len(row))] for row in rows]
        return torch.tensor(padded, device=self.device)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def encode(self, source: Tensor) -> Tensor:
        """Encoder states [batch, length, width] of padded source ids."""
        encoder: nn.Module = self.model.get_encoder()
        mask = (source != self.pad).long()
        states: Tensor = encoder(input_ids=source, attention_mask=mask).last_hidden_state
        return states

    def logits(self, source: Tensor, target: Tensor) -> Tensor:
        """Teacher-forced logits [batch, target length, vocabulary] for target ids."""
        start = torch.full_like(target[:, :1], self.start)
        out = self.model(
            input_ids=source,
            attention_mask=(source != self.pad).long(),
            decoder_input_ids=torch.cat([start, target[:, :-1]], 1),
            use_cache=False,
        )
        logits: Tensor = out.logits
        return logits
