"""Judges of summaries: QUALS, QAGS and FactCC with models of their own, ROUGE, BLEU, METEOR, word overlap.

In: lists of strings (documents, summaries, references). Out: a score and its evidence for each.
"""

from .factcc import FactCC, factcc
from .meteor import meteor, meteor_statistics
from .overlap import overlap_features
from .qagen import train_qagen
from .qags import Qags, QagsModels, qags
from .quals import Quals, QualsPair, ask, quals, quals_stream
from .text import bleu, bleu_statistics, rouge

__all__ = [
    "FactCC",
    "Qags",
    "QagsModels",
    "Quals",
    "QualsPair",
    "ask",
    "bleu",
    "bleu_statistics",
    "factcc",
    "meteor",
    "meteor_statistics",
    "overlap_features",
    "qags",
    "quals",
    "quals_stream",
    "rouge",
    "train_qagen",
]
