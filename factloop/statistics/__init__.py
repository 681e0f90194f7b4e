"""Intervals, comparisons and the promotion rule, by resampling examples (numpy only).

In: per-example values, of one system or of two on the same examples. Out: estimates with 95%
intervals, paired differences with p-values and what the examples can show, a verdict. Resampling is
seeded: the same values give the same.
"""

from .agreement import accuracy_interval, balanced_accuracy, best_threshold, cohen_kappa, correlations, paired_agreement, pearson, wilson
from .bootstrap import Estimate, auc, auc_interval, interval
from .compare import LOWER_IS_BETTER, compare_examples, example_shares, gain, holm, shown
from .gate import Verdict, decide
from .paired import Difference, of_shares, paired_difference, sign_flip_p
from .slices import most_different, slice_differences, slices

__all__ = [
    "LOWER_IS_BETTER",
    "Difference",
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
    "example_shares",
    "gain",
    "holm",
    "interval",
    "most_different",
    "of_shares",
    "paired_agreement",
    "paired_difference",
    "pearson",
    "shown",
    "sign_flip_p",
    "slice_differences",
    "slices",
    "wilson",
]
