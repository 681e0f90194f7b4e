"""Overlap of texts, without a model: ROUGE, BLEU and METEOR with a reference, words and values with the document.

In: lists of strings. Out: a score for each, or counts that a corpus score sums. Loads no torch.
"""

from .meteor import meteor, meteor_statistics
from .overlap import marked_words, overlap_features
from .text import bleu, bleu_statistics, repeats, rouge

__all__ = ["bleu", "bleu_statistics", "marked_words", "meteor", "meteor_statistics", "overlap_features", "repeats", "rouge"]
