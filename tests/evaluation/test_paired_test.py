"""The paired test over images and seeds: it finds what is there, and seldom what is not."""

import numpy as np
import pytest
from scipy import stats

from repflow.evaluation.paired_test import holm, paired_difference


def test_with_one_seed_it_is_the_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    right, other = generator.random((1, 500)) < 0.6, generator.random((1, 500)) < 0.5
    found = paired_difference(right, other)
    expected = stats.ttest_rel(right[0].astype(float), other[0].astype(float), alternative="greater")
    assert found.value == pytest.approx(right.mean() - other.mean())
    assert found.p == pytest.approx(expected.pvalue)


def test_the_variance_is_that_of_the_crossed_analysis() -> None:
    """Against sums over the table written out as in a textbook: rows, columns, and what they leave."""
    generator = np.random.default_rng(1)
    differences = generator.integers(-1, 2, (3, 50))
    found = paired_difference(differences > 0, differences < 0)
    seeds, images = differences.shape
    mean = differences.mean()
    rows = sum(images * (row.mean() - mean) ** 2 for row in differences) / (seeds - 1)
    columns = sum(seeds * (column.mean() - mean) ** 2 for column in differences.T) / (images - 1)
    total = ((differences - mean) ** 2).sum()
    rest = (total - rows * (seeds - 1) - columns * (images - 1)) / ((seeds - 1) * (images - 1))
    assert found.standard_error**2 == pytest.approx((rows + columns - rest) / (seeds * images))


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_a_method_that_is_no_better_is_seldom_called_better(spread: float) -> None:
    """Trainings differ by `spread`: seeds alone, or images alone, would find differences far too often then."""
    generator = np.random.default_rng(2)
    wrong = 0
    for _ in range(400):
        easy = generator.random(400)  # the same images are easy for both
        skill = 0.5 + spread * generator.standard_normal((2, 3, 1))
        right, other = (easy + 0.2 * generator.standard_normal((3, 400)) < each for each in skill)
        wrong += paired_difference(right, other).p < 0.05
    assert wrong / 400 < 0.085


def test_a_difference_that_is_there_is_found() -> None:
    generator = np.random.default_rng(3)
    easy = generator.random(10_000)
    skill = np.array([0.48, 0.5]).reshape(2, 1, 1) + 0.003 * generator.standard_normal((2, 3, 1))
    other, right = (easy + 0.2 * generator.standard_normal((3, 10_000)) < each for each in skill)
    assert paired_difference(right, other).p < 0.01
    assert paired_difference(other, right).p > 0.95


def test_equal_methods_do_not_differ() -> None:
    right = np.random.default_rng(4).random((3, 100)) < 0.5
    assert paired_difference(right, right).p == 1.0
    assert paired_difference(right, right).value == 0.0


def test_holm_s_correction_is_the_textbook_s() -> None:
    # Holm's example of four hypotheses: multiplied by 4, 3, 2, 1, and never falling.
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
