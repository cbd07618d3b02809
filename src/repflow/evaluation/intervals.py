"""Bootstrap intervals over test rows, paired where models are compared.

Efron, Tibshirani. An Introduction to the Bootstrap. 1993, chapter 13 (the percentile interval). The rows of a test are
drawn anew with replacement; models that were tested on the same rows are always drawn together, so that what is common
to them cancels in a difference. Rows that belong together are drawn together too: Davison, Hinkley. Bootstrap Methods
and their Application. 1997, section 3.8.
"""

from dataclasses import dataclass

import numpy as np

_CHUNK = 4_000_000
"""Numbers drawn at once; keeps the memory small where there are many rows."""


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


def resampled_means(
    values: np.ndarray, resamples: int, generator: np.random.Generator, groups: np.ndarray | None = None
) -> np.ndarray:
    """Means over rows that are drawn with replacement.

    Args:
        values: float or bool [M, N]: M numbers for each of the same N rows, as whether each of M models is right.
        resamples: how often to draw.
        generator: of the draws.
        groups: int64 [N], the group of each row, from 0 upwards without a gap. Rows of one group, such as pictures of
            the same thing, are drawn together, for they do not count as independent. None where every row is.

    Returns:
        float64 [resamples, M]; in each line all M means are over the same rows.
    """
    sums, sizes = _by_group(np.asarray(values, np.float64), groups)
    count = len(sizes)
    means = np.empty((resamples, len(values)))
    chunk = max(1, _CHUNK // count)
    for first in range(0, resamples, chunk):
        shape = (min(chunk, resamples - first), count)
        drawn = generator.integers(0, count, shape)
        drawn += count * np.arange(shape[0])[:, None]
        times = np.bincount(drawn.ravel(), minlength=shape[0] * count).reshape(shape)
        means[first : first + shape[0]] = times @ sums / (times @ sizes)[:, None]
    return means


def _by_group(values: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the values [M, N] over each of G groups [G, M], and their sizes [G]."""
    if groups is None:
        return values.T, np.ones(values.shape[1])
    return np.stack([np.bincount(groups, weights=row) for row in values], axis=1), np.bincount(groups)


def percentile_interval(value: float, resampled: np.ndarray, confidence: float = 0.95) -> Interval:
    """The interval that holds the middle share `confidence` of the resampled estimates [resamples].

    An estimate that is no number counts as beyond both ends; where there are too many of them, the ends are infinite.
    """
    tail = (1 - confidence) / 2
    unknown = np.isnan(resampled)
    low = np.quantile(np.where(unknown, -np.inf, resampled), tail, method="lower")
    high = np.quantile(np.where(unknown, np.inf, resampled), 1 - tail, method="higher")
    return Interval(float(value), float(low), float(high))


def share_of_gap(model: np.ndarray, floor: np.ndarray, ceiling: np.ndarray) -> np.ndarray:
    """(model - floor) / (ceiling - floor), elementwise; no number where the ceiling is not above the floor."""
    gap = np.asarray(ceiling - floor, np.float64)
    share: np.ndarray = np.divide(model - floor, gap, out=np.full(gap.shape, np.nan), where=gap > 0)
    return share
