"""Diverse beam search against a recording of transformers 4.49.0, and against plain beam search."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch

from benchmarks.record_group_beams import EOS, FAMILIES, PAD, build, draw_sources, first_step, upto_end
from factloop.decoding import Hypothesis, diverse_beam_search
from factloop.seq2seq import Seq2Seq
from factloop.settings import Window

pytestmark = pytest.mark.invariant
RECORDING = json.loads((Path(__file__).parent / "recordings/group_beams.json").read_text())


@functools.cache
def tiny(family: str) -> Seq2Seq:
    return Seq2Seq(build(family), SimpleNamespace(pad_token_id=PAD), Window(80, 80))


def ranked(found: list[Hypothesis]) -> list[Hypothesis]:
    return sorted(found, key=lambda hypothesis: hypothesis.score, reverse=True)


def test_the_recording_is_of_these_models_and_of_many_cases() -> None:
    assert RECORDING["transformers"] == "4.49.0"
    assert len(RECORDING["cases"]) >= 60
    lengths = {len(line) for case in RECORDING["cases"] for row in case["ids"] for line in row}
    assert len(lengths) > 20
    for family in FAMILIES:
        assert first_step(tiny(family).model) == pytest.approx(RECORDING["first_step"][family], abs=1e-4)


def describe(case: dict[str, Any]) -> str:
    settings = case["settings"]
    return f"{case['family']}-{len(case['source'])}x{settings['num_beam_groups']}x{settings['num_beams'] // settings['num_beam_groups']}"


@pytest.mark.parametrize("case", RECORDING["cases"], ids=describe)
def test_tokens_and_scores_are_those_of_transformers_4_49(case: dict[str, Any]) -> None:
    settings = case["settings"]
    longest = settings["max_new_tokens"] if "max_new_tokens" in settings else settings["max_length"] - 1
    found = diverse_beam_search(
        tiny(case["family"]),
        torch.tensor(case["source"]),
        groups=settings["num_beam_groups"],
        strength=settings["diversity_penalty"],
        min_length=settings["min_new_tokens"] if "min_new_tokens" in settings else settings["min_length"] - 1,
        max_length=longest,
        beams=settings["num_beams"] // settings["num_beam_groups"],
        length_penalty=settings["length_penalty"],
        early_stopping=settings["early_stopping"],
        end="forced" if settings["forced_eos_token_id"] else "open",
    )
    for row, lines, scores in zip(found, case["ids"], case["scores"], strict=True):
        # A hypothesis of all the tokens allowed is one that the limit cut before its end.
        assert [h.ids if len(h.ids) == longest else [*h.ids, EOS] for h in ranked(row)] == lines
        assert [h.score for h in ranked(row)] == pytest.approx(scores, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("beams", "length_penalty"), [(1, 1.0), (2, 0.0), (4, 1.0), (6, 2.0), (3, -0.5)])
def test_one_group_is_plain_beam_search(family: str, beams: int, length_penalty: float) -> None:
    """Of transformers 5, at any strength: there is no earlier group.

    With early stopping; without, 5 stops by the best beam that goes on, 4.49.0 by the best that goes on or ends.
    """
    model, source = tiny(family), torch.tensor(draw_sources(5, beams))
    options: dict[str, Any] = {"length_penalty": length_penalty, "early_stopping": True} if beams > 1 else {}
    theirs = model.model.generate(
        input_ids=source, attention_mask=(source != PAD).long(), do_sample=False, num_beams=beams, num_return_sequences=beams,
        min_new_tokens=2, max_new_tokens=16, **options,
    ).tolist()  # fmt: skip
    found = diverse_beam_search(model, source, 1, 0.7, 2, 16, beams, length_penalty, end="open")
    ours = [h.ids if len(h.ids) == 16 else [*h.ids, EOS] for row in found for h in row]
    assert ours == [upto_end(row) for row in theirs]


@pytest.mark.parametrize("beams", [1, 3])
def test_without_strength_all_groups_are_alike_and_with_it_they_are_not(beams: int) -> None:
    source = torch.tensor(draw_sources(3, 1))
    for strength, alike in ((0.0, True), (2.0, False)):
        for row in diverse_beam_search(tiny("t5"), source, 4, strength, 2, 16, beams):
            first, *others = (row[group * beams : (group + 1) * beams] for group in range(4))
            assert all(other == first for other in others) == alike


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("end", ["counted", "forced", "open"])
def test_hypotheses_depend_on_their_source_alone(family: str, end: Literal["counted", "forced", "open"]) -> None:
    """Not on the order of the batch, on what is beside them, or on padding."""
    rows = draw_sources(5, 3)
    alone = [
        diverse_beam_search(tiny(family), torch.tensor([[i for i in row if i != PAD]]), 3, 0.5, 2, 20, 2, 1.0, False, end)[0]
        for row in rows
    ]
    padded = torch.tensor([[*row, *[PAD] * 4] for row in reversed(rows)])
    together = diverse_beam_search(tiny(family), padded, 3, 0.5, 2, 20, 2, 1.0, False, end)
    assert [[h.ids for h in row] for row in reversed(together)] == [[h.ids for h in row] for row in alone]


def test_lengths_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="min_length 5 .* max_length 5"):
        diverse_beam_search(tiny("bart"), torch.tensor(draw_sources(1, 0)), 2, 0.5, min_length=5, max_length=5)
