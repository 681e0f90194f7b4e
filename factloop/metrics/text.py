"""ROUGE by rouge-score and BLEU by sacrebleu, per example, from 0 to 100; and texts that repeat themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

ROUND, TIMES = 3, 3  # a text repeats itself that has so many words in a row so often


def repeats(text: str) -> bool:
    """Whether a text goes round in circles, as those of weak models do."""
    words = text.lower().split()
    runs = Counter(zip(*(words[place:] for place in range(ROUND)), strict=False))
    return max(runs.values(), default=0) >= TIMES


def rouge(references: Sequence[str], outputs: Sequence[str]) -> dict[str, list[float]]:
    """F1 of rouge1, rouge2 and rougeL for each example, without stemming."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    scores = [scorer.score(reference, output) for reference, output in zip(references, outputs, strict=True)]
    return {name: [100 * score[name].fmeasure for score in scores] for name in ("rouge1", "rouge2", "rougeL")}


def bleu(references: Sequence[str], outputs: Sequence[str], lowercase: bool = False) -> float:
    """Corpus BLEU (13a)."""
    return corpus_bleu(bleu_statistics(references, outputs, lowercase).sum(0))


def bleu_statistics(references: Sequence[str], outputs: Sequence[str], lowercase: bool = False) -> np.ndarray:
    """Per example the 10 counts that corpus BLEU sums: 4 matches, 4 totals, 2 lengths."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True, lowercase=lowercase)
    scores = [metric.sentence_score(output, [reference]) for reference, output in zip(references, outputs, strict=True)]
    return np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores], dtype=float).reshape(-1, 10)


def corpus_bleu(sums: np.ndarray) -> float:
    """Corpus BLEU of summed statistics."""
    from sacrebleu.metrics.bleu import BLEU

    counts = [int(value) for value in sums]
    return float(BLEU.compute_bleu(counts[:4], counts[4:8], counts[8], counts[9]).score)
