"""Drift: whether what comes in is what a model was trained on, by tests that control false alarms (numpy only).

In: incoming documents, tables or judge scores, and those of the champion. Out: parts, each with a p-value by permutation
(`texts`, `values`), one verdict on all of them by Holm's correction, and what a person looks at to see why.
"""

from .detect import ENOUGH, FEWEST, LEVEL, Drift, Part, TooFew, document_drift, document_parts, holm_alarm, score_drift, table_drift
from .look import Unlike, Word
from .sketch import Sketch, join, sketch
from .texts import TextTest, test_texts
from .values import ValueTest, test_values

__all__ = [
    "ENOUGH",
    "FEWEST",
    "LEVEL",
    "Drift",
    "Part",
    "Sketch",
    "TextTest",
    "TooFew",
    "Unlike",
    "ValueTest",
    "Word",
    "document_drift",
    "document_parts",
    "holm_alarm",
    "join",
    "score_drift",
    "sketch",
    "table_drift",
    "test_texts",
    "test_values",
]
