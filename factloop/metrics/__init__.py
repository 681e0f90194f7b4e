"""Overlap of texts, without a model: ROUGE, BLEU and METEOR with a reference, words and values with the document.

In: lists of strings. Out: a score for each, that of the corpus, or counts that it sums. Loads no torch.
"""

from .meteor import corpus_meteor, meteor, meteor_statistics
from .overlap import marked_words, overlap, overlap_features
from .text import bleu, bleu_statistics, corpus_bleu, repeats, rouge

__all__ = [
    "bleu",
    "bleu_statistics",
    "corpus_bleu",
    "corpus_meteor",
    "marked_words",
    "meteor",
    "meteor_statistics",
    "overlap",
    "overlap_features",
    "repeats",
    "rouge",
]
