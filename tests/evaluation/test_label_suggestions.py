"""Which images to label next: against a naive greedy maximisation, and what it must do and not do."""

import numpy as np
import pytest

from repflow.evaluation import label_suggestions
from repflow.evaluation.label_suggestions import suggest, uncertainty


def naive(features, probabilities, labelled, count):
    """The objective of the paper, maximised greedily by looking at every row in every round."""
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (features, labelled)]

    def squared(left, right):
        return np.square(left[:, None] - right[None]).sum(axis=2)

    to_labelled = squared(unit[0], unit[1]).min(axis=1)
    width = to_labelled.mean() * label_suggestions.WIDTH
    kernel, covered = np.exp(-squared(unit[0], unit[0]) / width), np.exp(-to_labelled / width)
    ordered = np.sort(probabilities, axis=1)
    weights = 1 - ordered[:, -1] + ordered[:, -2]
    weights /= weights.sum()

    def total(rows):
        return weights @ np.maximum(covered, kernel[:, rows].max(axis=1, initial=0))

    chosen, gains = [], []
    for _ in range(count):
        found = [total([*chosen, row]) for row in range(len(features))]
        gains.append(max(found) - total(chosen))
        chosen.append(int(np.argmax(found)))
    return np.array(chosen), np.array(gains)


def random_probabilities(generator, count, classes=4):
    return generator.dirichlet(np.full(classes, 0.4), count)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_greedy_choice_of_the_papers_objective(seed: int) -> None:
    generator = np.random.default_rng(seed)
    features, labelled = generator.normal(size=(300, 8)), generator.normal(size=(5, 8))
    probabilities = random_probabilities(generator, 300)
    found = suggest(features, probabilities, labelled, 40)
    rows, gains = naive(features, probabilities, labelled, 40)
    assert found.rows.tolist() == rows.tolist()
    np.testing.assert_allclose(found.gains, gains, rtol=1e-3, atol=1e-6)
    assert (np.diff(found.gains) <= 1e-7).all()


def test_near_duplicates_are_not_suggested_together() -> None:
    generator = np.random.default_rng(0)
    motifs = generator.normal(size=(12, 16))
    copies = np.repeat(np.arange(12), 25)
    features = motifs[copies] + generator.normal(size=(300, 16)) * 1e-3
    found = suggest(features, np.full((300, 3), 1 / 3), generator.normal(size=(3, 16)), 12)
    assert sorted(copies[found.rows]) == list(range(12))


def test_what_is_like_a_labelled_or_suggested_row_is_not_suggested() -> None:
    generator = np.random.default_rng(0)
    motifs = generator.normal(size=(4, 16))
    features = np.repeat(motifs, 10, axis=0)
    found = suggest(features, np.full((40, 2), 0.5), motifs[:1], 50)
    assert sorted(found.rows // 10) == [1, 2, 3]


def test_of_equally_typical_rows_the_uncertain_ones_come_first() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 32))
    probabilities = np.tile([0.98, 0.01, 0.01], (200, 1))
    unsure = np.arange(0, 200, 20)
    probabilities[unsure] = [0.5, 0.5, 0.0]
    found = suggest(features, probabilities, generator.normal(size=(10, 32)), 10)
    assert sorted(found.rows) == unsure.tolist()


def test_an_outlier_is_not_worth_a_label_however_uncertain() -> None:
    generator = np.random.default_rng(0)
    dense = np.concatenate([centre + 0.05 * generator.normal(size=(60, 8)) for centre in np.eye(8)[:3]])
    features = np.concatenate([dense, -np.eye(8)[4:5]])
    probabilities = np.tile([0.6, 0.4], (181, 1))
    probabilities[180] = 0.5
    found = suggest(features, probabilities, np.eye(8)[7:], 3)
    assert sorted(found.rows // 60) == [0, 1, 2]
    assert 180 not in found.rows


def test_without_labelled_rows_it_begins_with_what_is_typical() -> None:
    generator = np.random.default_rng(0)
    features = np.concatenate([centre + 0.1 * generator.normal(size=(50, 8)) for centre in np.eye(8)[:4]])
    found = suggest(features, np.full((200, 4), 0.25), np.empty((0, 8)), 4)
    assert sorted(found.rows // 50) == [0, 1, 2, 3]


def test_many_rows_are_sampled_and_the_choice_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_suggestions, "MOST", 100)
    generator = np.random.default_rng(0)
    features, labelled = generator.normal(size=(1000, 8)), generator.normal(size=(3, 8))
    probabilities = random_probabilities(generator, 1000)
    found = [suggest(features, probabilities, labelled, 20, seed).rows.tolist() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert len(set(found[0])) == 20
    assert max(found[0]) > 500


@pytest.mark.parametrize(("rows", "count"), [(0, 5), (1, 5), (3, 5)])
def test_few_rows_are_enough(rows: int, count: int) -> None:
    features = np.eye(6)[:rows]
    found = suggest(features, np.full((rows, 2), 0.5), np.eye(6)[5:], count)
    assert sorted(found.rows) == list(range(rows))
    assert len(found.gains) == rows


def test_features_of_zero_and_certain_predictions_are_no_trouble() -> None:
    features = np.concatenate([np.zeros((3, 4)), np.eye(4)])
    found = suggest(features, np.tile([1.0, 0.0], (7, 1)), np.eye(4)[:1], 5)
    assert np.isfinite(found.gains).all()


def test_uncertainty_is_the_margin_of_the_two_best() -> None:
    probabilities = np.array([[0.5, 0.5, 0.0], [0.2, 0.1, 0.7], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(uncertainty(probabilities), [1.0, 0.5, 0.0])
    assert uncertainty(np.ones((2, 1))).tolist() == [1.0, 1.0]
