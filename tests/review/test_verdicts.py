"""Verdicts: each interval beside a published value or an exact test, and no verdict that the data do not bear."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from repflow.evaluation.intervals import Interval
from repflow.review.estimates import Estimate, better_when, estimates
from repflow.review.verdicts import Verdict, mean_interval, means, other_rows, same_rows, separate, verdict


def rows(*counts: tuple[bool, bool, int]) -> tuple[np.ndarray, np.ndarray]:
    """base and head, from how many rows are right in each."""
    pairs = [(base, head) for base, head, count in counts for _ in range(count)]
    return tuple(np.array(side, bool) for side in zip(*pairs, strict=True))  # type: ignore[return-value]


@settings(max_examples=40, deadline=None)
@given(gained=st.integers(0, 30), lost=st.integers(0, 30))
def test_on_the_same_rows_the_verdict_is_that_of_the_exact_test(gained: int, lost: int) -> None:
    interval = same_rows(*rows((False, True, gained), (True, False, lost), (True, True, 40), (False, False, 5)))
    excludes = not interval.low <= 0 <= interval.high
    assert excludes == (gained + lost > 0 and binomtest(gained, gained + lost).pvalue < 0.05)
    assert interval.value == pytest.approx((gained - lost) / (gained + lost + 45))
    assert interval.low <= interval.value <= interval.high


def test_on_other_rows_the_interval_is_newcombes() -> None:
    """56 of 70 and 48 of 80: .0524 to .3339 (Newcombe 1998, table II, example a, method 10)."""
    interval = other_rows(*(np.arange(size) < right for right, size in ((48, 80), (56, 70))))
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_all_rows_right_are_not_taken_for_certainty() -> None:
    assert other_rows(np.ones(20, bool), np.arange(20) < 19).high > 0
    assert separate(Interval(1.0, 1.0, 1.0), Interval(0.9, 0.85, 0.95)) is None


def test_separate_intervals_are_joined_by_squaring_and_adding() -> None:
    joined = separate(Interval(0.5, 0.46, 0.53), Interval(0.6, 0.57, 0.64))
    assert joined is not None
    assert (joined.value, joined.low, joined.high) == pytest.approx(
        (0.1, 0.1 - np.hypot(0.03, 0.03), 0.1 + np.hypot(0.04, 0.04))
    )
    assert separate(Interval(0.5, -np.inf, np.inf), Interval(0.6, 0.5, 0.7)) is None


def test_means_are_compared_as_welch_does() -> None:
    """By hand: variances 2.5 and 10 over 5 runs each, 5.88 degrees of freedom."""
    interval = means([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    assert interval is not None
    width = 2.4587 * np.sqrt(2.5 / 5 + 10 / 5)
    assert (interval.value, interval.low, interval.high) == pytest.approx((3, 3 - width, 3 + width), abs=2e-3)
    assert means([1, 1], [2, 2]) is None
    assert means([1, 1, 1], [2, 2.1, 2.2]) is not None
    assert mean_interval([1, 1]) == Interval(1, 1, 1)


@pytest.mark.parametrize(
    ("ends", "better", "said"),
    [
        ((0.01, 0.05), 1, Verdict.BETTER),
        ((0.01, 0.05), -1, Verdict.WORSE),
        ((-0.05, -0.01), 1, Verdict.WORSE),
        ((-0.05, -0.01), -1, Verdict.BETTER),
        ((-0.01, 0.05), 1, Verdict.NOISE),
        ((0.0, 0.05), 1, Verdict.NOISE),
        ((0.01, 0.05), None, Verdict.CHANGED),
    ],
)
def test_a_verdict_needs_an_interval_without_0_and_a_direction(ends, better, said) -> None:
    assert verdict(Interval(sum(ends) / 2, *ends), better) is said


def test_without_an_interval_there_is_no_verdict() -> None:
    assert verdict(None, 1) is Verdict.CHANGED


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
    assert better_when(name) == better


def test_rows_of_a_group_say_less_than_rows_alone() -> None:
    generator = np.random.default_rng(0)
    base, head = generator.random(40) < 0.5, generator.random(40) < 0.65
    alone = same_rows(base, head, np.arange(40))
    copies = [np.repeat(each, 8) for each in (base, head)]
    grouped, taken_for_independent = same_rows(*copies, np.repeat(np.arange(40), 8)), same_rows(*copies)
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert grouped.high - grouped.low > 2 * (taken_for_independent.high - taken_for_independent.low)
