"""Statistical significance of the change of a metric.

Every assessment uses a 95 % confidence interval of the change; without an interval there is none. The interval depends
on what the revisions have in common:

- `paired_change`: both revisions were tested on the same rows. Only the rows on which they differ count (McNemar.
  Psychometrika 12, 1947); the interval is the exact one of Clopper and Pearson for the share of these rows that the
  head predicts correctly, so it excludes 0 exactly if the exact test rejects. If rows form groups, a bootstrap over the
  groups is used instead (`repflow.evaluation.intervals`).
- `unpaired_change`: accuracies on different rows, from their counts: Wilson intervals, combined by the square root of
  the sum of squares (Newcombe. Statistics in Medicine 17, 1998, method 10).
- `change_of_estimates`: two estimates with only their intervals, combined in the same way (Zou, Donner. Statistics in
  Medicine 27, 2008). If both were measured on the same rows, this interval is too wide.
- `change_of_means`: several runs on each side (Welch. Biometrika 34, 1947).
"""

import warnings
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from repflow.evaluation.intervals import Interval, percentile_interval, resampled_means
from repflow.randomness.seeds import numpy_generator

CONFIDENCE = 0.95
_RESAMPLES = 2000


class Assessment(StrEnum):
    """Significance and direction of a change."""

    WORSE = "worse"
    BETTER = "better"
    NOISE = "within noise"
    CHANGED = "changed"
    """It changed, but there is no interval, or neither direction is better."""
    ADDED = "only in head"
    REMOVED = "only in base"


def assess(change: Interval | None, better: int | None) -> Assessment:
    """Assess the interval `change` of head minus base; `better` is 1 if more is better, -1 if less is, else None."""
    if change is None:
        return Assessment.CHANGED
    if change.low <= 0 <= change.high:
        return Assessment.NOISE
    if better is None:
        return Assessment.CHANGED
    return Assessment.BETTER if (change.low > 0) == (better > 0) else Assessment.WORSE


def paired_change(base: np.ndarray, head: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    """The change of accuracy on the same N rows.

    Args:
        base: which predictions of base are correct, bool [N].
        head: the same for head, in the same order.
        groups: the group of each row, int64 [N], consecutive numbers from 0.
    """
    from scipy.stats import binomtest

    if groups is not None:
        change = head.astype(float) - base
        resampled = resampled_means(change[None], _RESAMPLES, numpy_generator(0, "review/groups"), groups)[:, 0]
        return percentile_interval(float(change.mean()), resampled, CONFIDENCE)
    gained, lost = int((head & ~base).sum()), int((base & ~head).sum())
    differing = gained + lost
    if not differing:
        return Interval(0.0, 0.0, 0.0)
    share = binomtest(gained, differing).proportion_ci(CONFIDENCE, method="exact")
    low, high = ((2 * float(end) - 1) * differing / len(base) for end in share)
    return Interval((gained - lost) / len(base), low, high)


def unpaired_change(base: np.ndarray, head: np.ndarray) -> Interval:
    """The change of accuracy on different rows, given which predictions are correct: bool [N] and bool [M]."""
    return _combined(_wilson(base), _wilson(head))


def change_of_estimates(base: Interval, head: Interval) -> Interval | None:
    """The change between two estimates with an interval each.

    None if an interval has no width: a bootstrap of identical values cannot estimate its own error.
    """
    if base.low == base.high or head.low == head.high or not _finite(base, head):
        return None
    return _combined(base, head)


def change_of_means(base: Sequence[float], head: Sequence[float]) -> Interval | None:
    """The change of the mean over several runs; None if the runs of each side are all equal."""
    from scipy.stats import ttest_ind

    if np.ptp(base) == 0 and np.ptp(head) == 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the runs of one side may be all equal
        ends = ttest_ind(head, base, equal_var=False).confidence_interval(CONFIDENCE)
    return Interval(float(np.mean(head) - np.mean(base)), float(ends.low), float(ends.high))


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of several runs with its Student t interval, which has no width if all runs are equal."""
    from scipy.stats import sem, t

    mean = float(np.mean(values))
    width = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * sem(values)) if np.ptp(values) else 0.0
    return Interval(mean, mean - width, mean + width)


def _wilson(right: np.ndarray) -> Interval:
    from scipy.stats import binomtest

    ends = binomtest(int(right.sum()), len(right)).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(right.mean()), float(ends.low), float(ends.high))


def _combined(base: Interval, head: Interval) -> Interval:
    change = head.value - base.value
    down = np.hypot(head.value - head.low, base.high - base.value)
    up = np.hypot(head.high - head.value, base.value - base.low)
    return Interval(change, float(change - down), float(change + up))


def _finite(*intervals: Interval) -> bool:
    return all(np.isfinite([each.low, each.high]).all() for each in intervals)
