"""Diverse beam search with one beam per group."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from ..seq2seq import Seq2Seq


@dataclass(frozen=True)
class Hypothesis:
    ids: list[int]
    """Without start and end token."""
    score: float
    """Sum of log-probabilities less the diversity penalties, end token included."""


@torch.inference_mode()
def diverse_beam_search(
    seq2seq: Seq2Seq, source: Tensor, groups: int, strength: float, min_length: int, max_length: int
) -> list[list[Hypothesis]]:
    """`groups` hypotheses for each row of `source` [batch, length], in group order.

    At each step a group takes its best token after `strength` times the number of earlier
    groups that took the same token at this step is subtracted (Hamming diversity). The end
    token is not allowed before `min_length` tokens and is forced at `max_length`.
    """
    model, eos = seq2seq.model, seq2seq.eos
    batch = len(source)
    # One encoder pass per source; its states serve all groups of the row.
    states = seq2seq.encode(source).repeat_interleave(groups, 0)
    mask = (source != seq2seq.pad).long().repeat_interleave(groups, 0)
    device = source.device
    tokens = torch.full((batch * groups, 1), seq2seq.start, device=device)
    done = torch.zeros(batch, groups, dtype=torch.bool, device=device)
    score = torch.zeros(batch, groups, device=device)
    chosen: list[Tensor] = []
    past = None
    for step in range(max_length):
        out = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            decoder_input_ids=tokens,
            past_key_values=past,
            use_cache=True,
        )
        past = out.past_key_values
        logp = out.logits[:, -1].float().log_softmax(-1).view(batch, groups, -1)
        if step < min_length:
            logp[..., eos] = -torch.inf
        if step == max_length - 1:
            end = logp[..., eos].clone()
            logp[:] = -torch.inf
            logp[..., eos] = end
        taken = torch.zeros(batch, logp.shape[-1], device=device)
        picks = torch.empty(batch, groups, dtype=torch.long, device=device)
        for group in range(groups):
            value, pick = (logp[:, group] - strength * taken).max(-1)
            running = ~done[:, group]
            pick = torch.where(running, pick, seq2seq.pad)
            score[:, group] += torch.where(running, value, 0.0)
            taken.scatter_add_(1, pick[:, None], running[:, None].float())
            picks[:, group] = pick
        chosen.append(picks)
        done |= picks == eos
        tokens = picks.view(-1, 1)
        if bool(done.all()):
            break
    ids = torch.stack(chosen, -1).tolist()
    result = []
    for row, scores in zip(ids, score.tolist(), strict=True):
        cut = [line[: line.index(eos)] for line in row]
        result.append([Hypothesis(line, value) for line, value in zip(cut, scores, strict=True)])
    return result
