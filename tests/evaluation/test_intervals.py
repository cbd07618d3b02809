"""Bootstrap intervals: against SciPy, coverage, pairing and groups."""

import numpy as np
import pytest
from scipy import stats

from repflow.evaluation import intervals
from repflow.evaluation.intervals import percentile_interval, resampled_means, share_of_gap


def test_the_interval_equals_scipys():
    right = np.random.default_rng(0).random(300) < 0.8
    resampled = resampled_means(right[None], 20_000, np.random.default_rng(1))[:, 0]
    ours = percentile_interval(right.mean(), resampled)
    theirs = stats.bootstrap((right,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert ours.value == right.mean()


def test_intervals_have_their_nominal_coverage():
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        right = generator.random(400) < 0.75
        interval = percentile_interval(right.mean(), resampled_means(right[None], 400, generator)[:, 0])
        held += interval.low <= 0.75 <= interval.high
    assert 0.91 < held / 300 < 0.985


def test_resamples_are_paired_between_models():
    """Two models that are correct on the same rows have a difference of 0 in every resample."""
    right = np.random.default_rng(4).random(200) < 0.5
    means = resampled_means(np.stack([right, right, ~right]), 500, np.random.default_rng(5))
    assert np.array_equal(means[:, 0], means[:, 1])
    assert np.allclose(means[:, 0] + means[:, 2], 1)
    assert means[:, 0].std() == pytest.approx(np.sqrt(0.25 / 200), rel=0.15)


def test_rows_of_a_group_are_resampled_together():
    """Twenty copies of every row as groups give the interval of the rows; groups of one are rows."""
    right = np.random.default_rng(4).random(200) < 0.7
    copies, groups = np.repeat(right, 20)[None], np.repeat(np.arange(200), 20)
    alone = resampled_means(right[None], 500, np.random.default_rng(5))
    assert np.allclose(resampled_means(copies, 500, np.random.default_rng(5), groups), alone)
    assert np.allclose(resampled_means(right[None], 500, np.random.default_rng(5), np.arange(200)), alone)
    assert resampled_means(copies, 500, np.random.default_rng(5)).std() < alone.std() / 3


def test_groups_of_different_size_weigh_by_their_rows():
    values, groups = np.array([[1.0, 1.0, 1.0, 0.0]]), np.array([0, 0, 0, 1])
    means = resampled_means(values, 400, np.random.default_rng(5), groups)[:, 0]
    assert set(np.unique(means)) == {0.0, 0.75, 1.0}


def test_resamples_are_drawn_in_bounded_chunks(monkeypatch):
    monkeypatch.setattr(intervals, "_CHUNK", 1000)
    right = np.random.default_rng(6).random((2, 400)) < 0.9
    means = resampled_means(right, 301, np.random.default_rng(7))
    assert means.shape == (301, 2)
    assert means.mean(0) == pytest.approx(right.mean(1), abs=0.01)
    assert len(np.unique(means[:, 0])) > 5


def test_the_same_seed_gives_the_same_interval():
    right = np.random.default_rng(8).random((1, 50)) < 0.9
    first, second = (resampled_means(right, 100, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first, second)


def test_nan_counts_as_beyond_both_ends():
    resampled = np.append(np.linspace(0, 1, 98), [np.nan, np.nan])
    interval = percentile_interval(0.5, resampled)
    assert interval.low == 0
    assert interval.high == 1
    assert percentile_interval(0.5, np.append(resampled, np.full(4, np.nan))).high == np.inf


def test_share_of_the_gap_by_hand():
    shares = share_of_gap(
        np.array([0.6, 0.4, 1.1, 0.5]), np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.9, 0.9, 0.9, 0.5])
    )
    assert shares[:3] == pytest.approx([0.25, -0.25, 1.5])
    assert np.isnan(shares[3])
