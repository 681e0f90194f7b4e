"""Intervals, comparisons and the promotion rule, by the bootstrap over examples (numpy only).

In: per-example values, of one system or of two on the same examples. Out: estimates with 95%
intervals, paired differences, a verdict. Resampling is seeded: the same values give the same.
"""

from .agreement import accuracy_interval, balanced_accuracy, best_threshold, cohen_kappa, correlations, paired_agreement, pearson, wilson
from .bootstrap import Estimate, auc, auc_interval, interval, paired_difference
from .compare import LOWER_IS_BETTER, compare_examples
from .gate import Verdict, decide

__all__ = [
    "LOWER_IS_BETTER",
    "Estimate",
    "Verdict",
    "accuracy_interval",
    "auc",
    "auc_interval",
    "balanced_accuracy",
    "best_threshold",
    "cohen_kappa",
    "compare_examples",
    "correlations",
    "decide",
    "interval",
    "paired_agreement",
    "paired_difference",
    "pearson",
    "wilson",
]
