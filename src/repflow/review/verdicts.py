"""Whether a metric moved by more than chance would move it.

Every verdict rests on a 95 % interval of the change; where none can be had, there is no verdict. Which interval depends
on what the revisions have in common:

- `same_rows`: both revisions were tested on the same rows. What counts are the rows on which they differ (McNemar.
  Psychometrika 12, 1947); the interval is the exact one of Clopper and Pearson for the share of them that the head got
  right, and so excludes 0 just where the exact test rejects. Where rows form groups, the groups are drawn anew instead
  (the bootstrap of `repflow.evaluation.intervals`).
- `other_rows`: accuracies on different rows, from their counts: Wilson's intervals, joined by squaring and adding
  (Newcombe. Statistics in Medicine 17, 1998, method 10).
- `separate`: two estimates of which only the intervals are known, joined likewise (Zou, Donner. Statistics in Medicine
  27, 2008). Where both were measured on the same rows, this is wider than it need be.
- `means`: several runs on each side (Welch. Biometrika 34, 1947).
"""

import warnings
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from repflow.evaluation.intervals import Interval, percentile_interval, resampled_means
from repflow.randomness.seeds import numpy_generator

CONFIDENCE = 0.95
_RESAMPLES = 2000


class Verdict(StrEnum):
    """What may be said of a change."""

    WORSE = "worse"
    BETTER = "better"
    NOISE = "within noise"
    CHANGED = "changed"
    """It moved; the metrics hold no interval, or neither way is better."""
    ADDED = "only in head"
    REMOVED = "only in base"


def verdict(change: Interval | None, better: int | None) -> Verdict:
    """What the interval `change` of head less base allows to say; `better` is 1, -1 or None for neither way."""
    if change is None:
        return Verdict.CHANGED
    if change.low <= 0 <= change.high:
        return Verdict.NOISE
    if better is None:
        return Verdict.CHANGED
    return Verdict.BETTER if (change.low > 0) == (better > 0) else Verdict.WORSE


def same_rows(base: np.ndarray, head: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    """The change of accuracy on the same N rows.

    Args:
        base: what was right, bool [N].
        head: likewise, in the same order.
        groups: int64 [N], from 0 upwards without a gap; rows of one group belong together.
    """
    from scipy.stats import binomtest

    if groups is not None:
        change = head.astype(float) - base
        drawn = resampled_means(change[None], _RESAMPLES, numpy_generator(0, "review/groups"), groups)[:, 0]
        return percentile_interval(float(change.mean()), drawn, CONFIDENCE)
    gained, lost = int((head & ~base).sum()), int((base & ~head).sum())
    differing = gained + lost
    if not differing:
        return Interval(0.0, 0.0, 0.0)
    share = binomtest(gained, differing).proportion_ci(CONFIDENCE, method="exact")
    low, high = ((2 * float(end) - 1) * differing / len(base) for end in share)
    return Interval((gained - lost) / len(base), low, high)


def other_rows(base: np.ndarray, head: np.ndarray) -> Interval:
    """The change of accuracy, given what was right; bool [N] and bool [M], different rows."""
    return _joined(_wilson(base), _wilson(head))


def separate(base: Interval, head: Interval) -> Interval | None:
    """The change between two estimates, given an interval of each.

    None where an interval has no width: a bootstrap of rows that are all alike knows nothing of its own error.
    """
    if base.low == base.high or head.low == head.high or not _finite(base, head):
        return None
    return _joined(base, head)


def means(base: Sequence[float], head: Sequence[float]) -> Interval | None:
    """The change of the mean over several runs; None where no run differs from the others of its side."""
    from scipy.stats import ttest_ind

    if np.ptp(base) == 0 and np.ptp(head) == 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the runs of one side may be all alike
        ends = ttest_ind(head, base, equal_var=False).confidence_interval(CONFIDENCE)
    return Interval(float(np.mean(head) - np.mean(base)), float(ends.low), float(ends.high))


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of several runs with Student's interval; without width for runs that are all alike."""
    from scipy.stats import sem, t

    mean = float(np.mean(values))
    width = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * sem(values)) if np.ptp(values) else 0.0
    return Interval(mean, mean - width, mean + width)


def _wilson(right: np.ndarray) -> Interval:
    from scipy.stats import binomtest

    ends = binomtest(int(right.sum()), len(right)).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(right.mean()), float(ends.low), float(ends.high))


def _joined(base: Interval, head: Interval) -> Interval:
    change = head.value - base.value
    down = np.hypot(head.value - head.low, base.high - base.value)
    up = np.hypot(head.high - head.value, base.value - base.low)
    return Interval(change, float(change - down), float(change + up))


def _finite(*intervals: Interval) -> bool:
    return all(np.isfinite([each.low, each.high]).all() for each in intervals)
