"""Claims with labels, made from documents without a model: what FactCC learns from (Kryscinski et al. 2020).

In: documents, with references where there are any. Out: for each document, pairs of claims. The
first of a pair is a sentence, CORRECT; the second is the same sentence with one edit that makes it
false of the document, INCORRECT: a name, number or date swapped for another of the document, a
pronoun swapped, or a verb negated or affirmed. Both come with noise outside the edit.

Two things differ from the published transformations because a claim to be judged is worded
unlike its document. Sentences of the reference are taken too, if every name, number and date in
them stands in the document, and every other word that documents and their references mostly share
(`shared_words`): what a reference makes up is mostly such a word that its document lacks. Few of
these are wrong, but some are, which is why `reference_share` can be 0. And "never" counts
as a negation, since most verbs of summaries have no auxiliary to negate. And pronouns swap only for the other of
a pair (he and she, we and they, in each case), and kinds are drawn with the weights of `KINDS`, so that the rare ones are learned.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..settings import ClaimSettings
from .mentions import TOKEN, FindMentions, Mention, Span, pattern_mentions, sentences

Label = Literal["CORRECT", "INCORRECT"]
Paraphrase = Callable[[str], str]
LEAST, MOST = 8, 100  # tokens of a document's sentence (published: at least 8); a longer one is a table or a list
NOISE, DELETED = 0.05, 0.8  # chance that a token is hit, and that it is then deleted, else doubled (published)
# How likely each kind is among those that a sentence allows: more so where few sentences do.
KINDS = {"entity": 2, "number": 4, "date": 4, "pronoun": 4, "negation": 1}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Claim:
    claim: str
    label: Label
    kind: str
    """The transformation; of a CORRECT claim where it is from: sentence, reference, or paraphrase."""
    source: Span
    """Where the document has it, in characters: of a right claim the sentence, of a wrong one what stands in
    the place of the error, or where that is not found the sentence."""
    error: Span | None
    """The edited words of the claim; None for a CORRECT claim."""


@dataclass(frozen=True)
class Edit:
    """A text with a span replaced."""

    kind: str
    begin: int
    end: int
    new: str

    def applied(self, text: str) -> str:
        return text[: self.begin] + self.new + text[self.end :]


# Within a class a swap changes who is meant and keeps case and number, so that grammar does not give it away.
_PRONOUNS = (
    ("he", "she"), ("him", "her"), ("his", "her"), ("himself", "herself"),
    ("we", "they"), ("us", "them"), ("our", "their"), ("ours", "theirs"), ("ourselves", "themselves"),
)  # fmt: skip
_OTHER = {one: two for pair in _PRONOUNS for one, two in (pair, pair[::-1])}
_AFTER_OBJECT = {
    "a", "an", "the", "and", "or", "but", "to", "in", "at", "on", "by", "for", "from", "of", "with", "as", "when", "while", "that",
    "who", "this", "after", "before",
}  # fmt: skip


def pronoun_swaps(text: str) -> Iterator[Edit]:
    words = list(TOKEN.finditer(text))
    for word, following in zip(words, [*words[1:], None], strict=False):
        said = word.group().lower()
        if said == "her":  # of an object before a function word or punctuation, else of an owner
            owner = following is not None and following.group()[0].isalpha() and following.group().lower() not in _AFTER_OBJECT
            other = "his" if owner else "him"
        elif said in _OTHER and (word.group()[1:].islower() or said == word.group()):
            other = _OTHER[said]
        else:
            continue
        yield Edit("pronoun", *word.span(), other.capitalize() if word.group()[0].isupper() else other)


_CONTRACTED = {
    "are": "aren't", "is": "isn't", "was": "wasn't", "were": "weren't", "have": "haven't", "has": "hasn't", "had": "hadn't",
    "do": "don't", "does": "doesn't", "did": "didn't", "can": "can't", "could": "couldn't", "might": "mightn't", "must": "mustn't",
    "shall": "shan't", "should": "shouldn't", "will": "won't", "would": "wouldn't", "may": "may not",
}  # fmt: skip
_WHOLE = {short: long for long, short in _CONTRACTED.items()} | {"cannot": "can"}
_NOT = re.compile(rf"\b(?:(?P<short>{'|'.join(_WHOLE)})|(?P<whole>{'|'.join(_CONTRACTED)}) not|never (?P<verb>\w+))\b")
_AUXILIARY = re.compile(rf"(?<!\w)(?:{'|'.join(_CONTRACTED)})(?!\w)(?!['’]| not\b| never\b)")
_PAST = re.compile(r"(?<= )[a-z]+ed\b")


def negations(text: str, mentions: list[Mention]) -> Iterator[Edit]:
    """The negations of a sentence taken away, or if it has none, one put to an auxiliary or a past tense after a name or pronoun."""
    text = text.replace("’", "'")
    negated = False
    for match in _NOT.finditer(text):
        negated = True
        yield Edit("negation", *match.span(), match["verb"] or match["whole"] or _WHOLE[match["short"]])
    if negated:
        return
    for match in _AUXILIARY.finditer(text):
        for new in (f"{match.group()} not", _CONTRACTED[match.group()]):
            yield Edit("negation", *match.span(), new)
    subjects = {mention.end for mention in mentions} | {
        match.end() for match in re.finditer(r"\b(?:[Hh]e|[Ss]he|[Ww]e|[Tt]hey|I|[Ii]t)\b", text)
    }
    for match in _PAST.finditer(text):
        if match.start() - 1 in subjects:
            yield Edit("negation", *match.span(), f"never {match.group()}")


def swaps(text: str, mentions: list[Mention], known: list[Mention]) -> Iterator[Edit]:
    """Each value of the sentence swapped for each of its group in the document that the sentence lacks, neither a part of the other."""
    lowered = text.lower()
    for mention in mentions:
        for new in dict.fromkeys(other.text for other in known if other.group == mention.group):
            old, other = mention.text.lower(), new.lower()
            if old not in other and other not in old and other not in lowered:
                yield Edit(mention.kind, mention.begin, mention.end, new)


def noise(text: str, kept: Span | None, rng: random.Random) -> tuple[str, Span | None]:
    """Tokens deleted or doubled, outside `kept` and never a negation; the text and where `kept` is in it."""
    result, done, moved = "", 0, kept
    for token in TOKEN.finditer(text):
        begin, end = token.span()
        space, done = text[done:begin] if result else "", end
        inside = kept is not None and begin < kept[1] and kept[0] < end
        if kept is not None and begin <= kept[0] < end:
            start = len(result) + len(space) + kept[0] - begin
            moved = (start, start + kept[1] - kept[0])
        hit = rng.random() < NOISE and not inside and not re.search(r"^(?:not|never|no|cannot)$|n['’]t$", token.group().lower())
        if hit and rng.random() < DELETED:
            continue
        result += space + token.group() + (" " + token.group() if hit else "")
    return result, moved


def same(one: str, other: str) -> bool:
    return re.findall(r"\w+", one.lower()) == re.findall(r"\w+", other.lower())


@dataclass(frozen=True)
class _Text:
    """A sentence to make claims of."""

    text: str
    kind: str
    source: Span


def _from_document(document: str) -> list[_Text]:
    whole = [span for span in sentences(document) if span[1] - span[0] <= 20 * MOST]
    return [
        _Text(document[begin:end], "sentence", (begin, end))
        for begin, end in whole
        if LEAST <= len(TOKEN.findall(document[begin:end])) <= MOST
    ]


def shared_words(rows: Sequence[dict[str, Any]]) -> set[str]:
    """Words that, where a reference has them, its document has mostly too: they say what happened, not how it is put."""
    used: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for row in rows:
        words = _words(row["summary"])
        used.update(words)
        shared.update(words & _words(row["document"]))
    return {word for word, count in shared.items() if count > used[word] / 2}


def _words(text: str) -> set[str]:
    """Of four letters or more: shorter ones are mostly grammar."""
    return set(re.findall(r"\w{4,}", text.lower()))


def _from_reference(document: str, reference: str, shared: Collection[str], find: FindMentions) -> list[_Text]:
    """Sentences of the reference with at least one value, and no value or word of `shared` that the document does not have."""
    spans, words = sentences(document), _words(document)
    found = []
    for begin, end in sentences(reference):
        text = reference[begin:end]
        values = [rf"(?<!\w){re.escape(mention.text)}(?!\w)" for mention in find(text)]
        known = all(re.search(value, document) for value in values) and all(word in words for word in _words(text) if word in shared)
        if values and known and len(TOKEN.findall(text)) <= MOST:
            common = [sum(bool(re.search(value, document[a:b])) for value in values) for a, b in spans]
            found.append(_Text(text, "reference", spans[common.index(max(common))]))
    return found


@dataclass(frozen=True)
class _Read:
    """What the edits must know of a document."""

    mentions: list[Mention]
    stated: set[tuple[str, ...]]
    """The words of each sentence."""
    together: list[set[str]]
    """The values of each sentence."""


def _read(document: str, find: FindMentions) -> _Read:
    spans, mentions = sentences(document), find(document)
    stated = {tuple(re.findall(r"\w+", document[begin:end].lower())) for begin, end in spans}
    return _Read(mentions, stated, [{item.text for item in mentions if begin <= item.begin < end} for begin, end in spans])


def make_claims(
    document: str,
    reference: str,
    settings: ClaimSettings,
    rng: random.Random,
    shared: Collection[str] = (),
    find: FindMentions = pattern_mentions,
    paraphrase: Paraphrase | None = None,
) -> list[Claim]:
    """At most `settings.pairs` pairs of a CORRECT and an INCORRECT claim about one document; none where none can be made.

    `paraphrase`, such as translation to another language and back, rewords half of the sentences
    of the document; one whose rewording has other values is left as it is. The edit is then made to
    the rewording.
    """
    read = _read(document, find)
    pools = [_from_document(document), _from_reference(document, reference, shared, find) if settings.reference_share else []]
    claims: list[Claim] = []
    seen: set[str] = set()
    for _ in range(settings.pairs):
        first = rng.random() < settings.reference_share
        pool = pools[first] or pools[not first]
        if not pool:
            break
        chosen = rng.choice(pool)
        if paraphrase and chosen.kind == "sentence" and rng.random() < 0.5:
            text = paraphrase(chosen.text).strip()
            if sorted(mention.text for mention in find(text)) == sorted(mention.text for mention in find(chosen.text)):
                chosen = _Text(text, "paraphrase", chosen.source)
        if _CONTROL.search(chosen.text):
            continue
        edit = _edit(chosen.text, read, seen, rng, find)
        if edit is None:
            continue
        seen.add(edit.applied(chosen.text))
        right, _ = noise(chosen.text, None, rng)
        wrong, error = noise(edit.applied(chosen.text), (edit.begin, edit.begin + len(edit.new)), rng)
        if not right or same(right, wrong) or same(wrong, chosen.text):
            continue
        claims.append(Claim(right, "CORRECT", chosen.kind, chosen.source, None))
        claims.append(Claim(wrong, "INCORRECT", edit.kind, _replaced(document, chosen, edit), error))
    return claims


def _replaced(document: str, chosen: _Text, edit: Edit) -> Span:
    """Where the document has the words that the edit replaced; the sentence where they are not in it."""
    begin, end = chosen.source
    if chosen.kind == "sentence":
        return begin + edit.begin, begin + edit.end
    words = re.compile(rf"(?<!\w){re.escape(chosen.text[edit.begin : edit.end])}(?!\w)")
    found = words.search(document, begin, end) or words.search(document)
    return found.span() if found and edit.kind in ("entity", "number", "date") else chosen.source


def _edit(text: str, document: _Read, seen: set[str], rng: random.Random, find: FindMentions) -> Edit | None:
    """An edit of a kind drawn among those that apply, such that the document does not state what comes out.

    Swaps prefer a value that the document has beside another value of the sentence: that the two
    have to do with each other then proves nothing, and what is said of them must be read.
    """
    mentions = find(text)
    options: dict[str, list[Edit]] = {}
    for edit in (*swaps(text, mentions, document.mentions), *pronoun_swaps(text), *negations(text, mentions)):
        options.setdefault(edit.kind, []).append(edit)
    # Without replacement, by weight (Efraimidis and Spirakis 2006): the highest u^(1/weight) first.
    for kind in sorted(sorted(options), key=lambda kind: -(rng.random() ** (1 / KINDS[kind]))):
        rng.shuffle(options[kind])
        options[kind].sort(key=lambda edit: not _near(edit, mentions, document.together))
        for edit in options[kind]:
            new = edit.applied(text)
            if new not in seen and tuple(re.findall(r"\w+", new.lower())) not in document.stated and not same(new, text):
                return edit
    return None


def _near(edit: Edit, mentions: list[Mention], together: list[set[str]]) -> bool:
    others = {mention.text for mention in mentions if mention.begin != edit.begin}
    return any(edit.new in values and not others.isdisjoint(values) for values in together)


def claim_rows(
    rows: Sequence[dict[str, Any]], settings: ClaimSettings, find: FindMentions = pattern_mentions, paraphrase: Paraphrase | None = None
) -> Iterator[dict[str, Any]]:
    """For each row with `id`, `document` and `summary` (its reference) that claims can be made of: `id`, `document`, `claims`."""
    shared = shared_words(rows) if settings.reference_share else ()
    for row in rows:
        claims = make_claims(row["document"], row["summary"], settings, random.Random(f"claims {row['id']}"), shared, find, paraphrase)
        if claims:
            yield {"id": row["id"], "document": row["document"], "claims": [asdict(claim) for claim in claims]}
