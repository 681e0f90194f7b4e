"""ConSeq (Nan et al. 2021): train towards consistent summaries, away from inconsistent ones.

In: documents with references and sampled candidates, and a judge's score for each. Out: the
sets S+ and S-, pairs that differ in what is not borne out, and a summariser trained on them.
"""

from .collapse import check, look
from .edits import Judged, edits
from .select import Contrast, select
from .train import Onlooker, Stop, train_contrast

__all__ = ["Contrast", "Judged", "Onlooker", "Stop", "check", "edits", "look", "select", "train_contrast"]
