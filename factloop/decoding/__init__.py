"""Decoding: beam search and sampling by transformers, diverse beam search and scoring by us.

In: a `Seq2Seq` and texts or ids. Out: texts, or hypotheses with their log-likelihoods.
transformers 5 dropped group beam search, so `diverse` is written here (Vijayakumar et al. 2016).
"""

from .diverse import Hypothesis, diverse_beam_search
from .generate import beam_search, sample
from .score import Likelihood, score_targets

__all__ = ["Hypothesis", "Likelihood", "beam_search", "diverse_beam_search", "sample", "score_targets"]
