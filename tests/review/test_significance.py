"""Significance: every interval against a published value or an exact test, and the assessment of changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from repflow.evaluation.intervals import Interval
from repflow.review.estimates import Estimate, better_direction, estimates
from repflow.review.significance import (
    Assessment,
    assess,
    change_of_estimates,
    change_of_means,
    mean_interval,
    paired_change,
    unpaired_change,
)


def rows(*counts: tuple[bool, bool, int]) -> tuple[np.ndarray, np.ndarray]:
    """Base and head: which predictions are correct, from counts of rows."""
    pairs = [(base, head) for base, head, count in counts for _ in range(count)]
    return tuple(np.array(side, bool) for side in zip(*pairs, strict=True))  # type: ignore[return-value]


@settings(max_examples=40, deadline=None)
@given(gained=st.integers(0, 30), lost=st.integers(0, 30))
def test_on_the_same_rows_the_assessment_is_that_of_the_exact_test(gained: int, lost: int) -> None:
    interval = paired_change(*rows((False, True, gained), (True, False, lost), (True, True, 40), (False, False, 5)))
    excludes = not interval.low <= 0 <= interval.high
    assert excludes == (gained + lost > 0 and binomtest(gained, gained + lost).pvalue < 0.05)
    assert interval.value == pytest.approx((gained - lost) / (gained + lost + 45))
    assert interval.low <= interval.value <= interval.high


def test_on_other_rows_the_interval_is_that_of_newcombe() -> None:
    """56 of 70 and 48 of 80: .0524 to .3339 (Newcombe 1998, table II, example a, method 10)."""
    interval = unpaired_change(*(np.arange(size) < right for right, size in ((48, 80), (56, 70))))
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_an_accuracy_of_1_is_not_certain() -> None:
    assert unpaired_change(np.ones(20, bool), np.arange(20) < 19).high > 0
    assert change_of_estimates(Interval(1.0, 1.0, 1.0), Interval(0.9, 0.85, 0.95)) is None


def test_separate_intervals_are_combined_by_the_root_of_squares() -> None:
    combined = change_of_estimates(Interval(0.5, 0.46, 0.53), Interval(0.6, 0.57, 0.64))
    assert combined is not None
    assert (combined.value, combined.low, combined.high) == pytest.approx(
        (0.1, 0.1 - np.hypot(0.03, 0.03), 0.1 + np.hypot(0.04, 0.04))
    )
    assert change_of_estimates(Interval(0.5, -np.inf, np.inf), Interval(0.6, 0.5, 0.7)) is None


def test_means_are_compared_by_welchs_test() -> None:
    """By hand: variances 2.5 and 10 over 5 runs each, 5.88 degrees of freedom."""
    interval = change_of_means([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    assert interval is not None
    width = 2.4587 * np.sqrt(2.5 / 5 + 10 / 5)
    assert (interval.value, interval.low, interval.high) == pytest.approx((3, 3 - width, 3 + width), abs=2e-3)
    assert change_of_means([1, 1], [2, 2]) is None
    assert change_of_means([1, 1, 1], [2, 2.1, 2.2]) is not None
    assert mean_interval([1, 1]) == Interval(1, 1, 1)


@pytest.mark.parametrize(
    ("ends", "better", "output"),
    [
        ((0.01, 0.05), 1, Assessment.BETTER),
        ((0.01, 0.05), -1, Assessment.WORSE),
        ((-0.05, -0.01), 1, Assessment.WORSE),
        ((-0.05, -0.01), -1, Assessment.BETTER),
        ((-0.01, 0.05), 1, Assessment.NOISE),
        ((0.0, 0.05), 1, Assessment.NOISE),
        ((0.01, 0.05), None, Assessment.CHANGED),
    ],
)
def test_a_significant_change_needs_an_interval_without_0_and_a_direction(ends, better, output) -> None:
    assert assess(Interval(sum(ends) / 2, *ends), better) is output


def test_without_an_interval_a_change_is_only_changed() -> None:
    assert assess(None, 1) is Assessment.CHANGED


def test_ends_of_intervals_belong_to_their_metric() -> None:
    found = estimates(
        {
            "rows": {"test": 9},
            "dann": {"target": {"accuracy": 0.5, "low": 0.4, "high": 0.6, "ece": 0.1}},
            "gap": {"value": 0.2, "low": 0.1, "high": 0.3, "beyond": True},
            "gain": {"knn": 0.1, "linear": 0.2, "linear_low": 0.0, "linear_high": 0.3},
        }
    )
    assert found == {
        "rows.test": Estimate(9),
        "dann.target.accuracy": Estimate(0.5, 0.4, 0.6),
        "dann.target.ece": Estimate(0.1),
        "gap": Estimate(0.2, 0.1, 0.3),
        "gap.beyond": Estimate(True),
        "gain.knn": Estimate(0.1),
        "gain.linear": Estimate(0.2, 0.0, 0.3),
    }


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("finetune.target.accuracy", 1),
        ("finetune.target.ece", -1),
        ("loss", -1),
        ("dann.gap_closed", 1),
        ("pretrained.knn", 1),
        ("random.knn", None),
        ("domain_accuracy", None),
        ("steps", None),
    ],
)
def test_the_direction_of_a_metric_is_known_by_its_name(name: str, better: int | None) -> None:
    assert better_direction(name) == better


def test_grouped_rows_give_wider_intervals_than_independent_rows() -> None:
    generator = np.random.default_rng(0)
    base, head = generator.random(40) < 0.5, generator.random(40) < 0.65
    alone = paired_change(base, head, np.arange(40))
    copies = [np.repeat(each, 8) for each in (base, head)]
    grouped, taken_for_independent = paired_change(*copies, np.repeat(np.arange(40), 8)), paired_change(*copies)
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert grouped.high - grouped.low > 2 * (taken_for_independent.high - taken_for_independent.low)
