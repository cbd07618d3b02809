"""Scores and comparisons of classifiers, by hand."""

import numpy as np
import pytest

from repflow.evaluation.classification import Comparison, EvaluateConfig, recalls, scores


def certain(predicted, classes=3):
    return np.eye(classes)[predicted]


def test_scores_by_hand():
    """Class 0: 3 of 4 found, one row of 1 taken for it; class 1: 1 of 2; class 2 does not occur."""
    labels, predicted = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0])
    found = scores(certain(predicted), labels)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["f1"] == pytest.approx((0.75 + 0.5) / 2)
    assert found["worst_recall"] == pytest.approx(0.5)
    assert found["ece"] == pytest.approx(2 / 6)
    assert recalls(predicted, labels) == pytest.approx({0: 0.75, 1: 0.5})


def test_a_class_that_is_never_found_has_recall_zero():
    assert recalls(np.array([0, 0]), np.array([0, 2])) == {0: 1.0, 2: 0.0}


def comparison(**right):
    return Comparison(right, EvaluateConfig(), np.random.default_rng(0))


def rows(accuracy, number=1000, seed=0):
    return np.random.default_rng(seed).random(number) < accuracy


def test_a_difference_is_judged_on_shared_rows():
    """Two models differ on 20 rows, where one is right: their own intervals overlap, the paired one is above 0."""
    worse = rows(0.6)
    better = worse.copy()
    better[np.flatnonzero(~worse)[:20]] = True
    compared = comparison(worse=worse, better=better)
    assert compared.accuracy("better").low < compared.accuracy("worse").high
    difference = compared.difference("better", "worse")
    assert difference.value == pytest.approx(0.02)
    assert 0 < difference.low < 0.02 < difference.high < 0.035
    assert compared.difference("worse", "worse").high == 0


def test_perfect_and_hopeless_classifiers_have_intervals_with_a_width():
    """By hand: the smallest accuracy at which n of n are right with a probability of at least .025."""
    compared = comparison(perfect=np.ones(180, bool), hopeless=np.zeros(180, bool))
    assert compared.accuracy("perfect").low == pytest.approx(0.025 ** (1 / 180))
    assert compared.accuracy("hopeless").high == pytest.approx(1 - 0.025 ** (1 / 180))
    assert (compared.accuracy("perfect").high, compared.accuracy("hopeless").low) == (1, 0)
    grouped = Comparison(
        {"perfect": np.ones(180, bool)}, EvaluateConfig(), np.random.default_rng(0), np.repeat(np.arange(18), 10)
    )
    assert grouped.accuracy("perfect").low == pytest.approx(0.025 ** (1 / 18))  # crops of a photograph count as one


def test_a_chance_difference_is_not_significant():
    compared = comparison(one=rows(0.7, seed=1), other=rows(0.7, seed=2))
    difference = compared.difference("one", "other")
    assert difference.low < 0 < difference.high


def test_the_share_of_the_gap_and_its_interval():
    floor = rows(0.5)
    ceiling = floor | rows(0.8, seed=3)
    half = floor | (ceiling & (np.arange(1000) % 2 == 0))
    compared = comparison(floor=floor, half=half, ceiling=ceiling)
    share = compared.share_of_gap("half", "floor", "ceiling")
    expected = (half.mean() - floor.mean()) / (ceiling.mean() - floor.mean())
    assert share is not None
    assert share.value == pytest.approx(expected)
    assert 0.4 < share.low < expected < share.high < 0.6
    ends = [compared.share_of_gap(name, "floor", "ceiling") for name in ("floor", "ceiling")]
    assert [(end.value, end.low, end.high) for end in ends] == [(0, 0, 0), (1, 1, 1)]


def test_without_a_gap_there_is_no_share():
    floor = rows(0.7, seed=4)
    compared = comparison(floor=floor, model=rows(0.8), ceiling=rows(0.705, seed=5))
    assert compared.share_of_gap("model", "floor", "ceiling") is None
