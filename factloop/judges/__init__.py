"""Judges of summaries: QUALS, QAGS and FactCC with models of their own, ROUGE, BLEU, METEOR, word overlap.

In: lists of strings (documents and summaries, or references and outputs). Out: of judges with models a verdict with scores, status and
evidence for each, of ROUGE and word overlap a score for each, of BLEU and METEOR the score of the whole.
"""

from ..metrics import bleu, meteor, overlap, rouge
from ..reader import Reader
from ..seq2seq import Seq2Seq
from .factcc import FactCC, factcc, factcc_stream, load_factcc
from .qagen import train_qagen
from .qags import Qags, QagsModels, qags, qags_stream
from .quals import Quals, QualsPair, ask, quals, quals_stream

__all__ = [
    "FactCC",
    "Qags",
    "QagsModels",
    "Quals",
    "QualsPair",
    "Reader",
    "Seq2Seq",
    "ask",
    "bleu",
    "factcc",
    "factcc_stream",
    "load_factcc",
    "meteor",
    "overlap",
    "qags",
    "qags_stream",
    "quals",
    "quals_stream",
    "rouge",
    "train_qagen",
]
