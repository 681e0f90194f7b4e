"""Diverse beam search (Vijayakumar et al. 2016): groups of beams, later ones kept off the tokens of earlier ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from ..seq2seq import Seq2Seq

SHRINK = 0.75  # of the beams that are read at most so many still run: the others are dropped from keys and values


@dataclass(frozen=True)
class Hypothesis:
    ids: list[int]
    """Without start and end token."""
    score: float
    """Sum of log-probabilities less the diversity penalties, end token included, over length ** length_penalty."""


@torch.inference_mode()
def diverse_beam_search(
    seq2seq: Seq2Seq,
    source: Tensor,
    groups: int,
    strength: float,
    min_length: int,
    max_length: int,
    beams: int = 1,
    length_penalty: float = 0.0,
    early_stopping: bool = True,
    end: Literal["counted", "forced", "open"] = "counted",
) -> list[list[Hypothesis]]:
    """`groups` x `beams` hypotheses for each row of `source` [batch, length], in group order, best of a group first.

    At each step a group is a beam search of `beams` beams, after `strength` times the number of
    beams of earlier groups that took a token at this step is subtracted from its log-probability
    (Hamming diversity). A hypothesis has at least `min_length` and, with its end token, at most
    `max_length` tokens. A group is done once it has `beams` hypotheses and, without
    `early_stopping`, no beam could do better if it ended now.

    `end` is what the end token is to all this:
    - "counted": a token like others. Later groups pay for it, it is forced at `max_length` at its
      own price, and a group that is done takes nothing more.
    - "forced" and "open": what `generate` of transformers 4.49.0 does, token for token. Ending takes
      the token that the beam would else have gone on with; a group that is done goes on taking
      padding; at `max_length` the end costs nothing ("forced": `forced_eos_token_id` is set) or is
      left out. `generate` orders the hypotheses of all groups by score; its `min_new_tokens` and
      `max_new_tokens` are the lengths here, `min_length` and `max_length` one more (the start token).
    """
    if not 0 <= min_length < max_length:
        raise ValueError(f"min_length {min_length} must be at least 0 and less than max_length {max_length}")
    model, eos, pad, batch, device = seq2seq.model, seq2seq.eos, seq2seq.pad, len(source), source.device
    encoded = BaseModelOutput(last_hidden_state=seq2seq.encode(source))
    mask = (source != pad).long()
    tokens = torch.full((batch, 1), seq2seq.start, device=device)
    past = None
    shape = (batch, groups, beams)
    rows = torch.arange(batch * groups * beams, device=device)  # the beams that the model still reads
    # Of twice as many candidates as beams at most half end; a lone beam that ends needs no other.
    width = 1 if beams == 1 and end == "counted" else 2 * beams
    lines = torch.full((*shape, max_length), pad, device=device)
    score = torch.zeros(shape, device=device)
    score[..., 1:] = -1e9  # the beams of a group start alike: only the first counts
    done = torch.zeros(shape[:2], dtype=torch.bool, device=device)
    found = (torch.full(shape, -torch.inf, device=device), lines, torch.zeros(shape, dtype=torch.long, device=device))
    for length in range(1, max_length + 1):
        out = model(encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=tokens, past_key_values=past, use_cache=True)
        logp = out.logits[:, -1].float().log_softmax(-1)
        vocabulary = logp.shape[-1]
        if past is None:  # up to here a row's beams are one; from here each has its keys and values, and states are read no more
            past = out.past_key_values
            past.batch_repeat_interleave(groups * beams)
            logp, mask = (tensor.repeat_interleave(groups * beams, 0) for tensor in (logp, mask))
            encoded = BaseModelOutput(last_hidden_state=encoded[0].new_tensor(torch.nan).expand(*mask.shape, encoded[0].shape[-1]))
        elif len(rows) < batch * groups * beams:
            logp = logp.new_zeros(batch * groups * beams, vocabulary).index_copy(0, rows, logp)
        logp = logp.view(*shape, vocabulary)
        if length <= min_length:
            logp[..., eos] = -torch.inf
        if length == max_length and end != "open":
            price = logp[..., eos].clone() if end == "counted" else 0.0
            logp[:] = -torch.inf
            logp[..., eos] = price

        taken = torch.zeros(batch, vocabulary, device=device)
        value = torch.empty(batch, groups, width, device=device)
        choice = torch.empty_like(value, dtype=torch.long)
        on = torch.empty(shape, dtype=torch.long, device=device)
        for group in range(groups):
            gain = logp[:, group] - strength * taken[:, None]
            if width == 1:
                best, choice[:, group] = gain.max(-1)
                value[:, group] = best + score[:, group]
            else:
                value[:, group], choice[:, group] = (gain + score[:, group, :, None]).flatten(1).topk(width)
            token, running = choice[:, group] % vocabulary, ~done[:, group, None]
            on[:, group] = (token == eos).int().argsort(stable=True)[:, :beams]
            if end == "counted":
                taken.scatter_add_(1, token[:, :beams], running.float().expand(-1, beams))
            else:
                taken.scatter_add_(1, token.gather(1, on[:, group]).where(running, pad), torch.ones(batch, beams, device=device))

        token, beam = choice % vocabulary, choice // vocabulary
        ended = (token[..., :beams] == eos) & ~done[..., None]
        found = _best(found, value[..., :beams] / length**length_penalty, _select(lines, beam[..., :beams]), length - 1, ended)
        worst = found[0][..., -1]
        done |= worst > -torch.inf if early_stopping else worst >= value[..., 0] / length**length_penalty
        if bool(done.all()):
            break
        score, token, beam = value.gather(2, on), token.gather(2, on), beam.gather(2, on)
        lines = _select(lines, beam)
        lines[..., length - 1] = token
        runs = ~done[..., None].expand(shape).flatten()[rows]
        origin = torch.arange(batch * groups * beams, device=device).view(shape)[..., :1] + beam  # each beam's, a step ago
        origin = torch.searchsorted(rows, origin.flatten()[rows])
        if int(runs.sum()) <= SHRINK * len(rows):  # what is done is read no more
            rows, mask, origin = rows[runs], mask[runs], origin[runs]
            past.batch_select_indices(origin)
            encoded = BaseModelOutput(last_hidden_state=encoded[0][: len(rows)])
        elif beams > 1:  # beams of one group only change places: keys and values of their source stay
            past.self_attention_cache.reorder_cache(origin)
        tokens = token.flatten()[rows, None]
    found = _best(found, score / max_length**length_penalty, lines, max_length, ~done[..., None].expand(shape))
    scores, ids, lengths = (tensor.flatten(1, 2).tolist() for tensor in found)
    return [
        [Hypothesis(line[:size], value) for value, line, size in zip(*row, strict=True)] for row in zip(scores, ids, lengths, strict=True)
    ]


def _select(lines: Tensor, beam: Tensor) -> Tensor:
    """Row `beam` [batch, group, beams] of each group's `lines` [batch, group, beams, length]."""
    return lines.gather(2, beam[..., None].expand(-1, -1, -1, lines.shape[-1]))


def _best(found: tuple[Tensor, Tensor, Tensor], score: Tensor, lines: Tensor, length: int, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best of each group of `found` (scores, lines, lengths) and of the new `valid` ones."""
    scores = torch.cat([found[0], score.masked_fill(~valid, -torch.inf)], 2)
    scores, index = scores.topk(score.shape[2])
    sizes = torch.cat([found[2], torch.full_like(found[2], length)], 2)
    return scores, _select(torch.cat([found[1], lines], 2), index), sizes.gather(2, index)
