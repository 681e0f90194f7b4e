"""Verdicts on summaries of world documents: parse each sentence back to a fact and look it up."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from .generate import Fact
from .relations import RELATIONS, Relation
from .vocabulary import VALUES, is_female

Verdict = Literal["supported", "contradicted", "unsupported detail", "unparsed"]

PERSON = r"[A-Z][a-z]+ [A-Z][a-z]+"


@dataclass(frozen=True)
class Statement:
    """One sentence of a summary, the fact it states (None: unparsed) and the verdict on it."""

    sentence: str
    fact: Fact | None
    verdict: Verdict


def _alternatives(kind: str) -> str:
    if kind == "person":
        return PERSON
    return "|".join(sorted(map(re.escape, VALUES[kind]), key=len, reverse=True))


def _pattern(wording: str, relation: Relation, with_detail: bool) -> re.Pattern[str]:
    text = re.sub(r"\[(.*?)\]", r"\1" if with_detail else "", wording)
    text = re.escape(text).replace(r"\{", "{").replace(r"\}", "}")
    subject = _alternatives(relation.subject) + ("|she|he" if relation.subject == "person" else "")
    slots = {"s": subject, "o": _alternatives(relation.object), "d": _alternatives(relation.detail)}
    for slot, pattern in slots.items():
        text = text.replace("{" + slot + "}", f"(?P<{slot}>{pattern})")
    return re.compile(text[0] + text[1:], re.ASCII)


@functools.cache
def _patterns() -> list[tuple[str, bool, re.Pattern[str]]]:
    found = []
    for relation in RELATIONS.values():
        for wording in relation.summary + relation.document:
            found.append((relation.name, False, _pattern(wording, relation, True)))
            found.append((relation.name, False, _pattern(wording, relation, False)))
        for wording in relation.summary_denied + relation.denied:
            found.append((relation.name, True, _pattern(wording, relation, False)))
    return found


def _readings(sentence: str) -> Iterable[str]:
    """The sentence without its full stop, as written and with a small first letter."""
    body = sentence.removesuffix(".")
    return (body, body[0].lower() + body[1:]) if body else ()


def parse(sentence: str) -> Fact | None:
    """The fact that a sentence states, its subject perhaps a pronoun; None if it is no wording."""
    for text in _readings(sentence):
        for relation, denied, pattern in _patterns():
            match = pattern.fullmatch(text)
            if match:
                slots = match.groupdict()
                return Fact(relation, slots["s"], slots["o"], slots.get("d"), denied)
    return None


def parse_summary(summary: str) -> list[tuple[str, Fact | None]]:
    """Sentences with their facts, pronouns resolved to the nearest person of that sex before.

    The subject of the sentence before is preferred to its object; a pronoun without a person
    of its sex keeps the pronoun as subject, so that no document supports it.
    """
    result: list[tuple[str, Fact | None]] = []
    persons: list[str] = []
    for sentence in re.findall(r"[^.]+\.?", summary.strip()):
        sentence = sentence.strip()
        fact = parse(sentence)
        if fact and fact.subject in ("she", "he"):
            match = [name for name in persons if is_female(name) == (fact.subject == "she")]
            fact = replace(fact, subject=match[0]) if match else fact
        if fact:
            named = [fact.subject] if RELATIONS[fact.relation].subject == "person" else []
            named += [fact.object] if RELATIONS[fact.relation].object == "person" else []
            persons = [name for name in named if " " in name] + persons
        result.append((sentence, fact))
    return result


def judge(summary: str, facts: Iterable[Fact]) -> list[Statement]:
    """A verdict for each sentence of `summary` against the facts of its document."""
    known = {(f.relation, f.subject, f.object, f.denied): f.detail for f in facts}
    statements = []
    for sentence, fact in parse_summary(summary):
        verdict: Verdict = "contradicted"
        if fact is None:
            verdict = "unparsed"
        else:
            key = (fact.relation, fact.subject, fact.object, fact.denied)
            if key in known:
                if fact.detail is None or fact.detail == known[key]:
                    verdict = "supported"
                elif known[key] is None:
                    verdict = "unsupported detail"
        statements.append(Statement(sentence, fact, verdict))
    return statements


def _atoms(facts: Iterable[Fact | None]) -> set[Fact]:
    """Facts split into who-did-what and its detail, so that leaving a detail out costs recall."""
    given = [fact for fact in facts if fact is not None]
    return {replace(fact, detail=None) for fact in given} | {f for f in given if f.detail is not None}


def hallucinates(summary: str, facts: Iterable[Fact]) -> bool:
    """Whether any statement is contradicted, unsupported or unparsed; so is an empty summary."""
    statements = judge(summary, facts)
    return not statements or any(statement.verdict != "supported" for statement in statements)


def fact_recall(summary: str, reference_facts: Iterable[Fact]) -> float:
    """The share of the reference's facts (and details) that the summary states, 0 to 1."""
    wanted = _atoms(reference_facts)
    stated = _atoms(fact for _, fact in parse_summary(summary))
    return len(wanted & stated) / len(wanted) if wanted else 1.0
