"""Write the world down: documents with summaries, passages with questions, pages with tables.

Every row is drawn from its own generator, seeded by (seed, kind, index), so a larger world
begins with the rows of a smaller one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from .relations import PERSON_RELATIONS, RELATIONS
from .vocabulary import VALUES, World, is_female

Row = dict[str, Any]

COMPOUND = 0.5  # chance that two facts of one relation share a sentence
DETACHED = 0.2  # chance that a detail gets a sentence of its own
PRONOUN = 0.6  # chance of a pronoun where it is unambiguous
DENIED = 0.12  # chance that a fact is a denial
FOLLOW_UP = {
    "year": "that was in {d}",
    "month": "it was the month of {d}",
    "number": "the count came to {d}",
    "place": "this took place in {d}",
    "role": "the position was {d}",
}


@dataclass(frozen=True)
class Fact:
    """`subject` stands in `relation` to `object`; `detail` is None where it is not given."""

    relation: str
    subject: str
    object: str
    detail: str | None = None
    denied: bool = False


@dataclass(frozen=True)
class Noise:
    """How training references err: they fill in details that the document leaves out."""

    omission: float = 0.4
    """Chance that a document leaves a detail out."""
    fill_in: float = 0.6
    """Chance that a training reference states an omitted detail all the same."""
    typical: float = 0.85
    """Chance that the value stated is the one typical for the entity, else any."""


def pronoun(person: str) -> str:
    return "she" if is_female(person) else "he"


def capitalise(text: str) -> str:
    return text[0].upper() + text[1:]


def fill(wording: str, fact: Fact, subject: str | None = None) -> str:
    """A wording with its slots filled; `subject` replaces the name (by a pronoun)."""
    optional = r"\1" if fact.detail is not None else ""
    text = re.sub(r"\[(.*?)\]", optional, wording)
    return text.format(s=subject or fact.subject, o=fact.object, d=fact.detail)


def nominative(wording: str) -> bool:
    """Whether a pronoun can stand for the subject: it opens the wording or its main clause."""
    return re.sub(r"^\[.*?\]", "", wording).startswith("{s} ")


def write_document(facts: list[list[Fact]], rng: random.Random) -> str:
    """Prose for groups of facts; the facts of a group may share a sentence."""
    sentences: list[str] = []
    antecedent: str | None = None

    def clause(fact: Fact, follow_up: bool) -> str:
        relation = RELATIONS[fact.relation]
        wording = rng.choice(relation.denied if fact.denied else relation.document)
        shown = replace(fact, detail=None) if follow_up else fact
        refer = fact.subject == antecedent and nominative(wording) and rng.random() < PRONOUN
        return fill(wording, shown, pronoun(fact.subject) if refer else None)

    for group in facts:
        together = len(group) == 2 and rng.random() < COMPOUND
        for part in [group] if together else [[fact] for fact in group]:
            last = part[-1]
            follow_up = not together and last.detail is not None and rng.random() < DETACHED
            clauses = [clause(fact, follow_up) for fact in part]
            sentences.append(capitalise(rng.choice((", while ", ", and ")).join(clauses)) + ".")
            if follow_up:
                kind = RELATIONS[last.relation].detail
                sentences.append(capitalise(FOLLOW_UP[kind].format(d=last.detail)) + ".")
            antecedent = last.subject if not together and last.relation in PERSON_RELATIONS else None
    return " ".join(sentences)


def write_summary(facts: list[Fact], rng: random.Random) -> str:
    """Sentences about one person, in the wordings of summaries; later ones may use a pronoun."""
    sentences = []
    for index, fact in enumerate(facts):
        relation = RELATIONS[fact.relation]
        wording = rng.choice(relation.summary_denied if fact.denied else relation.summary)
        refer = index > 0 and fact.subject == facts[index - 1].subject and nominative(wording) and rng.random() < PRONOUN
        sentences.append(capitalise(fill(wording, fact, pronoun(fact.subject) if refer else None)) + ".")
    return " ".join(sentences)


class Draw:
    """Draws facts for one document, never the same value twice, and two people of one name only at need."""

    def __init__(self, world: World, rng: random.Random, omission: float) -> None:
        self.world, self.rng, self.omission = world, rng, omission
        self.used: set[str] = set()
        self.names: set[str] = set()

    def value(self, kind: str, female: bool | None = None) -> str:
        pool = [value for value in self.world.values(kind) if value not in self.used]
        if female is not None:
            pool = [value for value in pool if is_female(value) == female]
        if kind == "person":
            pool = [person for person in pool if self.names.isdisjoint(person.split())] or pool
        choice = self.rng.choice(pool)
        self.used.add(choice)
        self.names |= set(choice.split()) if kind == "person" else set()
        return choice

    def fact(self, relation: str, subject: str) -> Fact:
        kind = RELATIONS[relation]
        # A successor is of the other sex, so that a pronoun afterwards tells the two apart.
        female = not is_female(subject) if kind.object == "person" else None
        fact = Fact(relation, subject, self.value(kind.object, female))
        if self.rng.random() < DENIED:
            return replace(fact, denied=True)
        if self.rng.random() < self.omission:
            return fact
        return replace(fact, detail=self.value(kind.detail))


def draw_facts(world: World, rng: random.Random, omission: float) -> tuple[list[list[Fact]], list[Fact]]:
    """Groups of facts in document order, and the lead's facts, which the summary states.

    Each of the lead's facts has a rival of the same relation, so that wrong values are to be had
    in the document itself; often there is one of a relation with which it is confused, too.
    """
    draw = Draw(world, rng, omission)
    lead, second, third = (draw.value("person") for _ in range(3))
    first = rng.choice(PERSON_RELATIONS)
    follow = rng.choice([name for name in PERSON_RELATIONS if name != first])
    opening = [draw.fact(first, lead), draw.fact(first, second)]
    later = [draw.fact(follow, lead), draw.fact(follow, third)]
    rival = RELATIONS[rng.choice((first, follow))].partner or rng.choice(PERSON_RELATIONS)
    rest = [[draw.fact(rival, rng.choice((second, third)))]] if rival not in (first, follow) and rng.random() < 0.5 else []
    rest += [[draw.fact(relation, draw.value("team"))] for relation in ("won", "hosted") if rng.random() < 0.2]
    own = [opening[0], later[0]]
    if rng.random() < 0.5:  # the lead's facts stand apart: the second is anywhere
        rest.insert(rng.randrange(len(rest) + 1), later)
        groups = [opening, *rest]
    else:  # or follow one another, so that the second can use a pronoun
        rng.shuffle(rest)
        groups = [[opening[0]], [later[0]], *rest]
        groups.insert(rng.randrange(2, len(groups) + 1), [opening[1], later[1]])
    return groups, own


def fill_in(fact: Fact, world: World, noise: Noise, rng: random.Random) -> Fact:
    """The fact as a training reference states it."""
    if fact.detail is not None or fact.denied or rng.random() >= noise.fill_in:
        return fact
    kind = RELATIONS[fact.relation].detail
    typical = rng.random() < noise.typical
    return replace(fact, detail=world.typical[fact.subject, kind] if typical else rng.choice(VALUES[kind]))


def documents(world: World, seed: int, count: int, noise: Noise) -> Iterator[Row]:
    """Rows with id, document, summary (clean), training_summary (noisy), facts, summary_facts."""
    for index in range(count):
        rng = random.Random(f"{seed} document {index}")
        groups, own = draw_facts(world, rng, noise.omission)
        text = write_document(groups, rng)
        noisy = [fill_in(fact, world, noise, rng) for fact in own]
        wording = rng.random()
        yield {
            "id": f"document-{index}",
            "document": text,
            "summary": write_summary(own, random.Random(wording)),
            "training_summary": write_summary(noisy, random.Random(wording)),
            "facts": [asdict(fact) for group in groups for fact in group],
            "summary_facts": [asdict(fact) for fact in own],
        }


def ask(fact: Fact, rng: random.Random) -> list[Row]:
    """Questions about one fact with their answers, each a span of what states the fact.

    Of a detail both wordings are asked: details are what summaries get wrong most.
    """
    questions = RELATIONS[fact.relation].questions
    if fact.denied:
        asked = [("ns", fact.subject, 1), ("no", fact.object, 1)]
    else:
        asked = [("s", fact.subject, 1), ("o", fact.object, 1)]
        if fact.detail is not None:
            asked.append(("d", fact.detail, 2))
    return [
        {"question": wording.format(s=fact.subject, o=fact.object), "answer": answer}
        for slot, answer, count in asked
        for wording in rng.sample(questions[slot], count)
    ]


def passages(world: World, seed: int, count: int, omission: float) -> Iterator[Row]:
    """Reading comprehension: 85% whole documents, 15% short passages in either wording."""
    for index in range(count):
        rng = random.Random(f"{seed} passage {index}")
        groups, own = draw_facts(world, rng, omission)
        if rng.random() < 0.85:
            facts = [fact for group in groups for fact in group]
            text = write_document(groups, rng)
        else:
            facts = own if rng.random() < 0.8 else own[:1]
            as_summary = rng.random() < 0.7
            text = write_summary(facts, rng) if as_summary else write_document([[f] for f in facts], rng)
        questions = [question for fact in facts for question in ask(fact, rng)]
        yield {"id": f"passage-{index}", "passage": text, "questions": questions}


def tables(world: World, seed: int, count: int, omission: float) -> Iterator[Row]:
    """Pages: a title, prose that states some rows and other things, and a table."""
    for index in range(count):
        rng = random.Random(f"{seed} table {index}")
        draw = Draw(world, rng, 0.0)
        relation = RELATIONS[rng.choice(list(RELATIONS))]
        facts = [
            Fact(relation.name, draw.value(relation.subject), draw.value(relation.object), draw.value(relation.detail))
            for _ in range(rng.randint(3, 5))
        ]
        told = rng.sample(facts, 2)
        told = [replace(f, detail=None) if rng.random() < omission else f for f in told]
        other = [draw.fact(rng.choice(PERSON_RELATIONS), draw.value("person")) for _ in range(2)]
        groups = [[fact] for fact in told + other]
        rng.shuffle(groups)
        yield {
            "id": f"table-{index}",
            "title": f"{relation.columns[0]} list",
            "header": list(relation.columns),
            "rows": [[fact.subject, fact.object, fact.detail] for fact in facts],
            "text": write_document(groups, rng),
            "questions": [table_question(fact, rng) for fact in rng.sample(facts, 2)],
        }


def table_question(fact: Fact, rng: random.Random) -> Row:
    """A person's question about one row, with a long and a short answer, in summary wordings."""
    relation = RELATIONS[fact.relation]
    slot, answer = rng.choice((("s", fact.subject), ("o", fact.object), ("d", fact.detail)))
    wording = relation.summary["ods".index(slot)]
    return {
        "question": relation.questions[slot][1].format(s=fact.subject, o=fact.object),
        "answer": capitalise(fill(wording, fact)) + ".",
        "short_answer": answer,
    }
