"""Bootstrap confidence intervals over test images, paired for comparisons of models.

Efron, Tibshirani. An Introduction to the Bootstrap. 1993, chapter 13 (the percentile interval). Test
images are resampled with replacement; models tested on the same images share every resample, so that common variation
cancels in differences. Images of one group are resampled together: Davison, Hinkley. Bootstrap Methods
and their Application. 1997, section 3.8.
"""

from dataclasses import dataclass

import numpy as np

_CHUNK = 4_000_000
"""Maximum number of indices drawn at once, which limits memory."""


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
        values: float or bool [M, N]: M values per row, such as whether each of M models is correct.
        resamples: number of resamples.
        generator: random generator.
        groups: int64 [N], the group of each row, numbered from 0 without gaps. Rows of one group, such as crops of the
            same image, are not independent and are resampled together. None if all rows are independent.

    Returns:
        float64 [resamples, M]; the M means of a resample are over the same rows.
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
    """The percentile interval of resampled estimates [resamples].

    NaN estimates count as beyond both ends; with too many of them the ends are infinite.
    """
    tail = (1 - confidence) / 2
    unknown = np.isnan(resampled)
    low = np.quantile(np.where(unknown, -np.inf, resampled), tail, method="lower")
    high = np.quantile(np.where(unknown, np.inf, resampled), 1 - tail, method="higher")
    return Interval(float(value), float(low), float(high))


def share_of_gap(model: np.ndarray, floor: np.ndarray, ceiling: np.ndarray) -> np.ndarray:
    """(model - floor) / (ceiling - floor), elementwise; NaN where the ceiling is not above the floor."""
    gap = np.asarray(ceiling - floor, np.float64)
    share: np.ndarray = np.divide(model - floor, gap, out=np.full(gap.shape, np.nan), where=gap > 0)
    return share
