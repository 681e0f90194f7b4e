"""Judges of summaries: QUALS, QAGS and FactCC with models of their own, ROUGE, BLEU, METEOR, word overlap.

In: lists of strings (documents, summaries, references). Out: a score and its evidence for each.
"""

from ..metrics import bleu, bleu_statistics, meteor, meteor_statistics, overlap_features, rouge
from .factcc import FactCC, factcc, factcc_stream
from .qagen import train_qagen
from .qags import Qags, QagsModels, qags, qags_stream
from .quals import Quals, QualsPair, ask, quals, quals_stream

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
    "factcc_stream",
    "meteor",
    "meteor_statistics",
    "overlap_features",
    "qags",
    "qags_stream",
    "quals",
    "quals_stream",
    "rouge",
    "train_qagen",
]
