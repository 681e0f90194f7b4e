"""Plant one factual error of a known type in a summary, preferring values of its own document."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from .generate import Fact, pronoun, write_summary
from .oracle import hallucinates
from .relations import RELATIONS
from .vocabulary import VALUES, World, is_female

ERROR_TYPES = ("entity", "number", "date", "relation", "pronoun", "negation", "unsupported detail")
OVERLAP_FINDS = "unsupported detail"  # named apart: its value may be nowhere in the document
_DETAILS = {"number": ("number",), "date": ("year", "month")}


def _values_in(facts: Sequence[Fact], kind: str) -> list[str]:
    found = []
    for fact in facts:
        relation = RELATIONS[fact.relation]
        slots = ((relation.subject, fact.subject), (relation.object, fact.object))
        found += [value for slot, value in slots if slot == kind]
        if fact.detail is not None and relation.detail == kind:
            found.append(fact.detail)
    return sorted(set(found))


def _wrong(fact: Fact, kind: str, facts: Sequence[Fact], world: World) -> list[Fact]:
    """Versions of `fact` with an error of `kind`; empty where the type does not apply."""
    relation = RELATIONS[fact.relation]
    if kind == "entity":
        swaps = [replace(fact, object=v) for v in _values_in(facts, relation.object) if v != fact.subject]
        swaps += [replace(fact, subject=v) for v in _values_in(facts, relation.subject) if v != fact.object]
        return [swap for swap in swaps if swap != fact]
    if kind in _DETAILS:
        if fact.detail is None or relation.detail not in _DETAILS[kind]:
            return []
        inside = [v for v in _values_in(facts, relation.detail) if v != fact.detail]
        outside = [v for v in VALUES[relation.detail] if v != fact.detail]
        return [replace(fact, detail=value) for value in inside or outside]
    if kind == "relation":
        if not relation.partner:
            return [replace(fact, subject=fact.object, object=fact.subject)]
        same = RELATIONS[relation.partner].detail == relation.detail
        return [replace(fact, relation=relation.partner, detail=fact.detail if same else None)]
    if kind == "negation":
        return [replace(fact, denied=not fact.denied, detail=None)]
    if kind == "unsupported detail":
        if fact.detail is not None or fact.denied:
            return []
        return [replace(fact, detail=world.typical[fact.subject, relation.detail])]
    return []


def _swap_pronoun(facts: Sequence[Fact], summary: str) -> str | None:
    """The pronoun of a later sentence swapped, where another person is there to be meant."""
    own = pronoun(facts[0].subject)
    others = [fact.object for fact in facts if RELATIONS[fact.relation].object == "person"]
    if not any(is_female(other) != is_female(facts[0].subject) for other in others):
        return None
    swapped = re.sub(rf"\b{own}\b", "he" if own == "she" else "she", summary, flags=0)
    swapped = re.sub(rf"\b{own.capitalize()}\b", "He" if own == "she" else "She", swapped)
    return swapped if swapped != summary else None


def plant(
    summary: str,
    summary_facts: Sequence[Fact],
    document_facts: Sequence[Fact],
    kind: str,
    world: World,
    rng: random.Random,
) -> str | None:
    """`summary` with one error of type `kind`, in the same wordings; None where none applies.

    Whatever is returned is checked by the oracle to be false of the document.
    """
    if kind == "pronoun":
        return _swap_pronoun(summary_facts, summary)
    options = [
        [*summary_facts[:index], wrong, *summary_facts[index + 1 :]]
        for index, fact in enumerate(summary_facts)
        for wrong in _wrong(fact, kind, document_facts, world)
    ]
    rng.shuffle(options)
    for facts in options:
        text = write_summary(facts, random.Random(rng.random()))
        if hallucinates(text, document_facts):
            return text
    return None
