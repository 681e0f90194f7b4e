"""A study of two systems by people: blind pairs of their summaries, and what raters answered.

In: what two systems wrote of the same documents. Out: the pairs in which they differ, a sheet for each rater
that does not tell which is whose, and from the answers, verdicts on three axes. The axes and the better, worse
or equal of a pair are those of Nan et al. 2021.
"""

from .answers import read_answers
from .pairs import AXES, Pair, Sheet, blind_pairs, sheets

__all__ = ["AXES", "Pair", "Sheet", "blind_pairs", "read_answers", "sheets"]
