"""Diverse beam search and scoring against plain ways to the same result."""

from __future__ import annotations

import pytest
import torch

from factloop.base import from_scratch
from factloop.decoding import diverse_beam_search, score_targets
from factloop.seq2seq import Seq2Seq
from factloop.settings import Network, Window

pytestmark = pytest.mark.invariant
TEXTS = [f"Mara Velling wrote book number {n} in {1960 + n}." for n in range(30)]


@pytest.fixture(scope="module")
def model() -> Seq2Seq:
    made = from_scratch(TEXTS, Network(32, 2, 2, 2, 500), Window(40, 40), 3)
    with torch.no_grad():  # untrained logits are all alike: make choices distinct
        for parameter in made.model.parameters():
            parameter.mul_(3)
    made.model.eval()
    return made


def test_one_group_is_greedy_search(model: Seq2Seq) -> None:
    source = model.pad_batch(model.sources([[text] for text in TEXTS[:8]]))
    ours = diverse_beam_search(model, source, groups=1, strength=0.5, min_length=3, max_length=12)
    theirs = model.model.generate(
        input_ids=source, attention_mask=(source != model.pad).long(), do_sample=False, num_beams=1, min_new_tokens=3, max_new_tokens=12
    )
    for (hypothesis,), row in zip(ours, theirs.tolist(), strict=True):
        expected = [token for token in row[1:] if token not in (model.pad, model.eos)]
        assert hypothesis.ids == expected[: len(hypothesis.ids)] and len(expected) - len(hypothesis.ids) <= 1


def test_groups_pay_for_the_tokens_of_earlier_groups(model: Seq2Seq) -> None:
    """Step by step by the definition, without cache or batch."""
    text, groups, strength, longest = TEXTS[0], 4, 5.0, 6
    source = model.pad_batch(model.sources([[text]]))
    found = diverse_beam_search(model, source, groups, strength, min_length=2, max_length=longest)[0]
    lines: list[list[int]] = [[] for _ in range(groups)]
    scores = [0.0] * groups
    for step in range(longest):
        taken: dict[int, int] = {}
        for group in range(groups):
            if lines[group] and lines[group][-1] == model.eos:
                continue
            target = torch.tensor([[*lines[group], 0]])
            with torch.no_grad():
                logp = model.logits(source, target)[0, -1].log_softmax(-1).clone()
            if step < 2:
                logp[model.eos] = -torch.inf
            if step == longest - 1:
                logp[torch.arange(len(logp)) != model.eos] = -torch.inf
            for token, count in taken.items():
                logp[token] -= strength * count
            token = int(logp.argmax())
            lines[group].append(token)
            scores[group] += float(logp[token])
            taken[token] = taken.get(token, 0) + 1
    assert [h.ids for h in found] == [line[:-1] for line in lines]
    assert [h.score for h in found] == pytest.approx(scores, abs=1e-3)
    assert len({tuple(h.ids) for h in found}) > 1


def test_hypotheses_do_not_depend_on_the_batch(model: Seq2Seq) -> None:
    together = diverse_beam_search(model, model.pad_batch(model.sources([[t] for t in ("Mara.", *TEXTS[:5])])), 3, 0.5, 2, 10)
    alone = diverse_beam_search(model, model.pad_batch(model.sources([["Mara."]])), 3, 0.5, 2, 10)
    assert [h.ids for h in together[0]] == [h.ids for h in alone[0]]


def test_scores_equal_those_of_one_target_at_a_time(model: Seq2Seq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factloop.decoding.score.LOGITS", 0)  # one target at a time through the decoder
    sources = model.sources([[TEXTS[0]], ["Mara wrote."]])
    targets = [model.targets([[TEXTS[1]], ["book"]]), model.targets([[TEXTS[2]]])]
    found = score_targets(model, sources, targets)
    for source, group, likelihoods in zip(sources, targets, found, strict=True):
        for target, likelihood in zip(group, likelihoods, strict=True):
            ids = torch.tensor([target])
            with torch.inference_mode():
                logp = model.logits(torch.tensor([source]), ids).log_softmax(-1)
            expected = logp[0, torch.arange(len(target)), ids[0]].tolist()
            assert likelihood.tokens == pytest.approx(expected, abs=1e-4)
            assert likelihood.mean == pytest.approx(sum(expected) / len(expected), abs=1e-4)
