"""The choice among classifiers: broken ones lose, complementary ones are combined, noise chooses nothing."""

import numpy as np
import pytest

from repflow.evaluation.selection import (
    TEMPERATURES,
    SelectConfig,
    at_temperature,
    choose,
    improves,
    log_likelihoods,
    temperature,
)

CLASSES = 10


def softmax(logits: np.ndarray) -> np.ndarray:
    each = np.exp(logits - logits.max(axis=1, keepdims=True))
    return each / each.sum(axis=1, keepdims=True)


def model(generator: np.random.Generator, labels: np.ndarray, signal: float, common: np.ndarray | None = None):
    """Probabilities of a model whose logits are noise and, for the right class, `signal`."""
    noise = generator.normal(size=(len(labels), CLASSES))
    noise = noise if common is None else 0.2 * noise + common
    return softmax(noise + signal * np.eye(CLASSES)[labels])


def labels_of(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.integers(0, CLASSES, count)


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("rows", [20, 10_000])
@pytest.mark.parametrize("confidence", [0.0, 20.0])
def test_a_broken_model_is_never_chosen(rows: int, confidence: float) -> None:
    """It guesses, unsure or sure; the baseline, which stands before it, is right in nine of ten."""
    for seed in range(5 if rows > 1000 else 20):
        generator = np.random.default_rng(seed)
        labels = labels_of(generator, rows)
        guesses = softmax(confidence * generator.normal(size=(rows, CLASSES)))
        choice = choose({"baseline": model(generator, labels, 3.5), "broken": guesses}, labels)
        assert choice.weights == {"baseline": 1.0}


@pytest.mark.parametrize("rows", [20, 10_000])
def test_a_much_better_model_is_chosen_although_it_is_more_complex(rows: int) -> None:
    for seed in range(5 if rows > 1000 else 20):
        generator = np.random.default_rng(seed)
        labels = labels_of(generator, rows)
        candidates = {"weak": model(generator, labels, 0.3), "strong": model(generator, labels, 6.0)}
        assert next(iter(choose(candidates, labels).weights)) == "strong"
        assert choose(candidates, labels, SelectConfig(combine=False)).weights == {"strong": 1.0}


def test_models_that_few_rows_cannot_tell_apart_are_averaged() -> None:
    """Five models of one quality with errors of their own, 20 images in 10 classes; judged on other images."""
    gains = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        labels = labels_of(generator, 2020)
        alike = {name: model(generator, labels, 1.5) for name in "abcde"}
        choice = choose({name: each[:20] for name, each in alike.items()}, labels[:20])
        mixed = sum(weight * alike[name][20:] for name, weight in choice.weights.items())
        single = next(iter(choice.weights))  # the best one on the 20 images
        gains.append(accuracy(mixed, labels[20:]) - accuracy(alike[single][20:], labels[20:]))
    assert np.mean(gains) > 0.1
    assert min(gains) >= 0  # where one of them is lucky by more than two standard errors, it stays alone
    assert np.count_nonzero(gains) > 15


def test_models_of_one_family_have_one_voice() -> None:
    generator = np.random.default_rng(0)
    labels = labels_of(generator, 10)
    candidates = {name: model(generator, labels, 1.0) for name in ("baseline", "knn", "linear", "finetune")}
    families = {"knn": "probe", "linear": "probe"}
    weights = choose(candidates, labels, families=families).weights
    assert weights == pytest.approx({"baseline": 1 / 3, "knn": 1 / 6, "linear": 1 / 6, "finetune": 1 / 3})
    assert choose(candidates, labels).weights == pytest.approx(dict.fromkeys(candidates, 1 / 4))


def test_of_equal_models_the_simplest_is_taken_where_they_may_not_be_combined() -> None:
    """Five copies of one model with a little noise, 20 images in 10 classes."""
    chosen = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        labels = labels_of(generator, 20)
        common = generator.normal(size=(20, CLASSES))
        copies = {name: model(generator, labels, 2.5, common) for name in "abcde"}
        chosen.append(choose(copies, labels, SelectConfig(combine=False)).weights)
    assert sum(each == {"a": 1.0} for each in chosen) > 30


def test_identical_models_are_not_combined() -> None:
    generator = np.random.default_rng(0)
    labels = labels_of(generator, 500)
    one = model(generator, labels, 2.0)
    assert choose({"first": one, "second": one.copy()}, labels).weights == {"first": 1.0}


def test_complementary_models_are_better_together_than_either_alone() -> None:
    """One knows the even classes, the other the odd ones; the choice is judged on other images."""
    generator = np.random.default_rng(0)
    labels = labels_of(generator, 3000)
    even = (labels % 2 == 0)[:, None]
    candidates = {
        "even": np.where(even, model(generator, labels, 5.0), model(generator, labels, 0.0)),
        "odd": np.where(even, model(generator, labels, 0.0), model(generator, labels, 5.0)),
    }
    seen, judged = slice(0, 1000), slice(1000, None)
    choice = choose({name: each[seen] for name, each in candidates.items()}, labels[seen])
    assert set(choice.weights) == {"even", "odd"}
    assert sum(choice.weights.values()) == pytest.approx(1)
    mixed = sum(
        weight * at_temperature(candidates[name][judged], choice.temperatures[name])
        for name, weight in choice.weights.items()
    )
    alone = max(accuracy(each[judged], labels[judged]) for each in candidates.values())
    assert accuracy(mixed, labels[judged]) > alone + 0.1
    assert choice.log_likelihood > max(choice.log_likelihoods.values())
    only = choose({name: each[seen] for name, each in candidates.items()}, labels[seen], SelectConfig(combine=False))
    assert len(only.weights) == 1


def test_there_are_no_more_members_than_allowed() -> None:
    generator = np.random.default_rng(0)
    labels = labels_of(generator, 2000)
    candidates = {str(number): model(generator, labels, 1.5) for number in range(7)}
    assert len(choose(candidates, labels, SelectConfig(members=4)).weights) == 4
    assert len(choose(candidates, labels, SelectConfig(members=2)).weights) == 2


def test_scores_of_every_candidate_are_those_of_the_definition() -> None:
    generator = np.random.default_rng(0)
    labels = labels_of(generator, 300)
    candidates = {"a": model(generator, labels, 1.0), "b": model(generator, labels, 3.0)}
    choice = choose(candidates, labels)
    for name, each in candidates.items():
        calibrated = np.log(each) / choice.temperatures[name]
        expected = np.log(0.99 * softmax(calibrated)[np.arange(300), labels] + 0.001).mean()
        assert choice.log_likelihoods[name] == pytest.approx(expected)
        assert choice.accuracies[name] == accuracy(each, labels)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_a_miscalibrated_model_is_found(true: float) -> None:
    """Labels are drawn from the probabilities, whose logits are then multiplied by the temperature."""
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(20_000, CLASSES))
    labels = np.array([generator.choice(CLASSES, p=each) for each in softmax(logits)])
    assert temperature(softmax(true * logits), labels) == pytest.approx(true, rel=0.12)


def test_few_images_move_the_temperature_little() -> None:
    generator = np.random.default_rng(0)
    logits = 8 * generator.normal(size=(2000, CLASSES))
    labels = labels_of(generator, 2000)
    few, many = temperature(softmax(logits)[:3], labels[:3]), temperature(softmax(logits), labels)
    assert 1 < few < many
    assert temperature(np.full((4, CLASSES), 0.1), labels[:4]) == 1.0
    assert many <= TEMPERATURES[-1] == 10
    assert 1.0 in TEMPERATURES


def test_a_class_that_is_impossible_costs_a_finite_amount() -> None:
    sure = np.eye(CLASSES)[[3, 3]]
    found = log_likelihoods(at_temperature(sure, 2.0), np.array([3, 4]))
    assert found[0] > -0.02
    assert found[1] == pytest.approx(np.log(0.001))


def test_images_of_one_group_count_as_one() -> None:
    difference = np.repeat([0.5, -0.2, 0.5, 0.1, 0.4, -0.3], 50)
    config = SelectConfig(noise=2.0)
    assert improves(difference, config)
    assert not improves(difference, config, np.repeat(np.arange(6), 50))
    assert not improves(np.ones(5), config, np.zeros(5, int))
