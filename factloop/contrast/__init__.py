"""ConSeq (Nan et al. 2021): train towards consistent summaries, away from inconsistent ones.

In: documents with references and sampled candidates, and a judge's score for each. Out: the
sets S+ and S-, and a summariser trained on both.
"""

from .select import Contrast, select
from .train import train_contrast

__all__ = ["Contrast", "select", "train_contrast"]
