"""The grammar of short-form questions: a YAML file of rules, read and checked.

The expressions are those of TAPAS's intermediate pretraining whose result is a cell (Eisenschlos et
al. 2020), and ReasTAP's skills (Zhao et al. 2022): conjunction, ordinals of numbers and dates, counts,
sums and date differences. `questions` draws from it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .values import Headers

RULES = Path(__file__).with_name("grammar.yaml")
ANSWERS = ("cell", "count", "sum", "difference", "time")
BY_NUMBER, BY_DATE = ("highest", "lowest"), ("latest", "earliest")
TAKES = ("only", "first", "last", *BY_NUMBER, *BY_DATE, "all")
NUMERIC, TEMPORAL = ("greater", "less", "between"), ("before", "after", "between_dates")
CONDITIONS = ("equal", *NUMERIC, *TEMPORAL, "each")
ORDINALS = ("", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
FIELDS = {"weight", "where", "take", "ranks", "answer", "phrases"}


class GrammarError(ValueError):
    """A grammar that cannot be used as written: the message names file, rule and problem."""


@dataclass(frozen=True)
class Rule:
    name: str
    weight: float
    where: tuple[str, ...]
    take: str
    ranks: tuple[int, ...]
    answer: str
    phrases: tuple[str, ...]

    @property
    def slots(self) -> set[str]:
        """What every phrase of the rule must name, and all that it may."""
        named = set() if self.answer == "count" else {"select"}
        for condition, end in zip(self.where, ("", "2"), strict=False):
            named |= {f"column{end}", f"value{end}"}
            named |= {f"to{end}"} if condition.startswith("between") else {"other"} if condition == "each" else set()
        named |= {"by"} if self.take in BY_NUMBER + BY_DATE else set()
        named |= {"ordinal"} if self.ranks != (1,) else set()
        return named | ({"unit"} if self.answer == "time" else set())


@dataclass(frozen=True)
class Grammar:
    rules: tuple[Rule, ...]
    headers: Headers
    summaries: frozenset[str]
    """What marks a row that adds up others."""

    def weights(self, answers: tuple[str, ...]) -> list[float]:
        return [rule.weight if rule.answer in answers else 0.0 for rule in self.rules]


@functools.cache
def load_grammar(path: Path = RULES) -> Grammar:
    """Read and check a grammar; GrammarError says what is wrong with which rule."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise GrammarError(f"{path}: not YAML that can be read ({error})") from None
    parts = {"rules", "reading", "summary_rows"}
    if not isinstance(content, dict) or set(content) != parts or not isinstance(content["rules"], dict) or not content["rules"]:
        raise GrammarError(f"{path}: a grammar has the parts {sorted(parts)}, with one rule or more by name")
    reading, lists = content["reading"], [item.name for item in fields(Headers)]
    if not isinstance(reading, dict) or set(reading) != set(lists):
        raise GrammarError(f"{path}: reading: it has the lists {lists}")
    headers = Headers(**{name: _words(path, f"reading: {name}", reading[name]) for name in lists})
    rules = tuple(_rule(path, str(name), given) for name, given in content["rules"].items())
    return Grammar(rules, headers, _words(path, "summary_rows", content["summary_rows"]))


def _words(path: Path, name: str, found: Any) -> frozenset[str]:
    if not isinstance(found, list) or not all(isinstance(word, str) and word == word.casefold() for word in found):
        raise GrammarError(f"{path}: {name}: a list of words in small letters is asked, those that YAML reads otherwise (no, on) in quotes")
    return frozenset(found)


def _rule(path: Path, name: str, given: Any) -> Rule:
    where = f"{path}: rule {name}"
    if not isinstance(given, Mapping) or not set(given) <= FIELDS:
        unknown = sorted(set(map(str, given)) - FIELDS) if isinstance(given, Mapping) else given
        raise GrammarError(f"{where}: it has {unknown!r:.80}; its fields are {sorted(FIELDS)}")
    absent = sorted({"weight", "take", "answer", "phrases"} - set(given))
    if absent:
        raise GrammarError(f"{where}: {', '.join(absent)} is not there")
    weight, conditions, ranks, phrases = given["weight"], given.get("where", []), given.get("ranks", [1]), given["phrases"]
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e6:
        raise GrammarError(f"{where}: weight is {weight!r}, not a number from 0")
    if not isinstance(conditions, list) or len(conditions) > 2 or not all(item in CONDITIONS for item in conditions):
        raise GrammarError(f"{where}: where is {conditions!r}; it is a list of at most two of {', '.join(CONDITIONS)}")
    for field, allowed in (("take", TAKES), ("answer", ANSWERS)):
        if given[field] not in allowed:
            raise GrammarError(f"{where}: {field} is {given[field]!r}; it is one of {', '.join(allowed)}")
    most = len(ORDINALS)
    if not isinstance(ranks, list) or not ranks or not all(type(rank) is int and 1 <= rank <= most for rank in ranks):
        raise GrammarError(f"{where}: ranks is {ranks!r}; it is a list of whole numbers from 1 to {most}")
    if not isinstance(phrases, list) or not phrases or not all(isinstance(text, str) and text.strip() for text in phrases):
        raise GrammarError(f"{where}: phrases must be a list of one text or more")
    rule = Rule(name, float(weight), tuple(conditions), given["take"], tuple(ranks), given["answer"], tuple(phrases))
    problem = _contradiction(rule) or _misnamed(rule)
    if problem:
        raise GrammarError(f"{where}: {problem}")
    return rule


def _contradiction(rule: Rule) -> str | None:
    """What in a rule does not go together."""
    ordered, pair = rule.take in BY_NUMBER + BY_DATE, rule.answer in ("difference", "time")
    if ("each" in rule.where) != pair or (pair and rule.where != ("each",)):
        return f"answer is {rule.answer} and where is {list(rule.where)}; `where: [each]` goes with difference and time, and only with them"
    if (rule.answer == "cell") == (rule.take == "all"):
        return f"answer is {rule.answer} and take is {rule.take}; a cell is taken from one row, all else from all"
    if rule.answer == "count" and not rule.where:
        return "it counts rows without a condition"
    if rule.take == "only" and not rule.where:
        return "take is only, and nothing in where chooses that row"
    if rule.ranks != (1,) and (not ordered or 1 in rule.ranks):
        return f"ranks is {list(rule.ranks)} and take is {rule.take}; ranks from 2 go with {', '.join(BY_NUMBER + BY_DATE)}"
    return None


def _misnamed(rule: Rule) -> str | None:
    """Which slot a phrase lacks, or has without need."""
    for phrase in rule.phrases:
        named = set(re.findall(r"\{([^{}]*)\}", phrase))
        if {*re.sub(r"\{[^{}]*\}", "", phrase)} & {*"{}"}:
            return f"phrase {phrase!r} has a brace without its other"
        if named != rule.slots:
            lacks, more = sorted(rule.slots - named), sorted(named - rule.slots)
            return f"phrase {phrase!r} must name {sorted(rule.slots)}; it lacks {lacks or 'nothing'} and has {more or 'nothing'} beside"
    return None
