"""Judges of summaries: QUALS by a joint question-answer generator, ROUGE, BLEU, METEOR, word overlap.

In: lists of strings (documents, summaries, references). Out: a score and its evidence for each.
"""

from .meteor import meteor, meteor_statistics
from .overlap import overlap_features
from .qagen import train_qagen
from .quals import Quals, QualsPair, ask, quals, quals_stream
from .text import bleu, bleu_statistics, rouge

__all__ = [
    "Quals",
    "QualsPair",
    "ask",
    "bleu",
    "bleu_statistics",
    "meteor",
    "meteor_statistics",
    "overlap_features",
    "quals",
    "quals_stream",
    "rouge",
    "train_qagen",
]
