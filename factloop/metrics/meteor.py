"""METEOR 1.5 (Denkowski and Lavie 2014), by its authors' program, as pycocoevalcap carries it.

Texts are tokenized as for COCO captions: Penn Treebank tokens in lower case, without punctuation.
Other implementations of METEOR give other numbers, some by 20 points: never compare across them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..java import Conversation, JavaFailed, run

# Of the program for English, task "rank" (its default). Weights: exact, stem, synonym, paraphrase.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
COUNTS = 23


def tokenise(texts: Sequence[str]) -> list[str]:
    """Each text as one line of Penn Treebank tokens, in lower case, without punctuation."""
    try:
        from pycocoevalcap.tokenizer import ptbtokenizer
    except ImportError as error:
        raise JavaFailed("the tokenizer", f"is not installed ({error})") from None
    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    # One line each, whatever Java takes for the end of a line.
    given = "".join(" ".join(text.split()) + "\n" for text in texts)
    arguments = ["-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    found = run("the tokenizer", arguments, given).split("\n")[:-1] if texts else []
    if len(found) != len(texts):
        raise JavaFailed("the tokenizer", f"gave {len(found)} lines for {len(texts)} texts")
    dropped = set(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(token for token in line.split() if token not in dropped) for line in found]


@functools.cache
def scorer() -> Conversation:
    """The scorer, shared by all calls: it takes seconds and half a gigabyte to load its paraphrases."""
    try:
        from pycocoevalcap.meteor import meteor as program
    except ImportError as error:
        raise JavaFailed("the scorer", f"is not installed ({error})") from None
    jar = Path(program.__file__).with_name(program.METEOR_JAR)
    return Conversation("the scorer", ["-XX:+UseSerialGC", "-Xmx1G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"])


def meteor(references: Sequence[str], outputs: Sequence[str]) -> float:
    """Corpus METEOR 1.5, 0 to 100."""
    return corpus_meteor(meteor_statistics(references, outputs).sum(0))


def meteor_statistics(references: Sequence[str], outputs: Sequence[str]) -> NDArray[np.float64]:
    """Per example the 23 counts that corpus METEOR sums, [examples, 23].

    Lengths and function words of output and reference, four matches for each of four matchers,
    chunks, matched words of both.
    """
    texts = [text.replace("|||", "| | |") for text in tokenise([*references, *outputs])]
    pairs = zip(texts[: len(references)], texts[len(references) :], strict=True)
    answers = [line.split() for line in scorer().ask([f"SCORE ||| {reference} ||| {output}" for reference, output in pairs])]
    strange = next((words for words in answers if len(words) != COUNTS), None)
    if strange:
        scorer().end()
        raise JavaFailed("the scorer", f"answered {' '.join(strange)[:200]!r} where {COUNTS} counts were due")
    table = np.array(answers, dtype=float).reshape(-1, COUNTS)
    # A perfect match is one chunk, and pays no penalty for it, in the sum neither.
    perfect = (table[:, 0] == table[:, 21]) & (table[:, 1] == table[:, 22]) & (table[:, 20] == 1)
    table[perfect, 20] = 0
    return table


def corpus_meteor(sums: NDArray[np.float64]) -> float:
    """METEOR, 0 to 100, of summed statistics; of one row of them, that example's."""
    matches = sums[4:20].reshape(4, 4)  # by matcher: content words of output and reference, then function words of both

    def share(side: int) -> float:
        words, function = sums[side], sums[side + 2]
        matched = WEIGHTS @ (DELTA * matches[:, side] + (1 - DELTA) * matches[:, side + 2])
        total = DELTA * (words - function) + (1 - DELTA) * function
        return float(matched / total) if total else 0.0

    precision, recall = share(0), share(1)
    if not precision or not recall:
        return 0.0
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    fragmentation = sums[20] / ((sums[21] + sums[22]) / 2)
    return float(100 * mean * (1 - GAMMA * fragmentation**BETA))
