"""The baseline: logistic regression on the features that the validation images prefer, as one classifier."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_digits

from repflow.data.read.rows import Rows, sampled
from repflow.encoders import build_encoder
from repflow.encoders.classical import HOGConfig, PixelsConfig
from repflow.errors import DataError
from repflow.evaluation.baseline import BaselineConfig, Candidate, best_of, fit_baselines
from repflow.evaluation.features import encode, probabilities
from repflow.evaluation.linear_probe import LinearConfig, fit_linear_probe


@pytest.fixture(scope="module")
def digits() -> tuple[Rows, Rows, Rows]:
    """200 labelled, 100 validation and 400 test digits of 8 pixels."""
    found = load_digits()
    pixels = (found.images / 16 * 255).round().astype(np.uint8)[:, None]
    classes = tuple(map(str, range(10)))

    def part(start: int, stop: int) -> Rows:
        return Rows(pixels[start:stop], found.target[start:stop].astype(np.int64), np.arange(start, stop), classes)

    return part(0, 200), part(200, 300), part(300, 700)


def accuracy(candidate: Candidate, rows: Rows) -> float:
    return float((probabilities(candidate.classifier, rows.images).argmax(1) == rows.labels).mean())


def test_the_classifier_is_the_fitted_pipeline(digits: tuple[Rows, Rows, Rows]) -> None:
    labelled, validation, test = digits
    candidate = fit_baselines(BaselineConfig(features=(PixelsConfig(),)), labelled, validation)[0]
    encoder = candidate.classifier.encoder
    pipeline = fit_linear_probe(
        BaselineConfig().linear,
        encode(encoder, labelled.images),
        labelled.labels,
        encode(encoder, validation.images),
        validation.labels,
    )
    expected = pipeline.predict_proba(encode(encoder, test.images))
    assert np.abs(probabilities(candidate.classifier, test.images) - expected).max() < 1e-4
    assert candidate.validation == pipeline.score(encode(encoder, validation.images), validation.labels)
    assert accuracy(candidate, test) > 0.7  # of other writers


def test_the_best_on_validation_images_is_taken(digits: tuple[Rows, Rows, Rows]) -> None:
    labelled, validation, _ = digits
    useless = Rows(np.zeros_like(labelled.images), labelled.labels, labelled.index, labelled.classes)
    candidates = fit_baselines(BaselineConfig(), labelled, validation)
    assert [each.features.name for each in candidates] == ["pixels", "hog"]
    scores = [each.validation or 0.0 for each in candidates]
    assert best_of(candidates).validation == max(scores)
    worse = dataclasses.replace(fit_baselines(BaselineConfig(), useless, validation)[1], validation=0.1)
    assert best_of([candidates[0], worse]) is candidates[0]
    assert best_of([worse, candidates[0]]) is candidates[0]


def test_without_validation_images_the_last_features_are_taken(digits: tuple[Rows, Rows, Rows]) -> None:
    labelled, validation, _ = digits
    none = Rows(validation.images[:0], validation.labels[:0], validation.index[:0], validation.classes)
    candidates = fit_baselines(BaselineConfig(), labelled, none)
    assert [each.validation for each in candidates] == [None, None]
    assert best_of(candidates).features == HOGConfig()


def test_features_that_do_not_fit_the_images_are_left_out(digits: tuple[Rows, Rows, Rows]) -> None:
    labelled, validation, _ = digits
    config = BaselineConfig(features=(PixelsConfig(), HOGConfig(cells=8)))
    assert [each.features.name for each in fit_baselines(config, labelled, validation)] == ["pixels"]


@pytest.mark.parametrize("kept", [(0, 1), (2, 5, 7)])
def test_two_classes_and_classes_without_a_label(digits: tuple[Rows, Rows, Rows], kept: tuple[int, ...]) -> None:
    labelled, validation, test = digits
    some = [
        Rows(each.images[chosen], each.labels[chosen], each.index[chosen], each.classes)
        for each in (labelled, validation, test)
        for chosen in [np.isin(each.labels, kept)]
    ]
    candidate = best_of(fit_baselines(BaselineConfig(), some[0], some[1]))
    predicted = probabilities(candidate.classifier, test.images)
    assert predicted.shape[1] == 10
    assert np.delete(predicted, kept, axis=1).max() < 1e-6
    assert accuracy(candidate, some[2]) > 0.9


def test_one_class_is_refused(digits: tuple[Rows, Rows, Rows]) -> None:
    labelled, validation, _ = digits
    one = labelled.labels == 3
    rows = Rows(labelled.images[one], labelled.labels[one], labelled.index[one], labelled.classes)
    with pytest.raises(DataError, match="fewer than two classes"):
        fit_baselines(BaselineConfig(), rows, validation)


def test_many_labelled_images_are_thinned_out(digits: tuple[Rows, Rows, Rows], monkeypatch: pytest.MonkeyPatch) -> None:
    labelled, validation, _ = digits
    seen: list[int] = []

    def fit(config: LinearConfig, features: np.ndarray, labels: np.ndarray, *others: np.ndarray) -> object:
        seen.append(len(labels))
        return fit_linear_probe(config, features, labels, *others)

    monkeypatch.setattr("repflow.evaluation.baseline.fit_linear_probe", fit)
    fit_baselines(BaselineConfig(features=(PixelsConfig(),), most=60), labelled, validation)
    assert seen == [60]


def test_nothing_is_learned_by_the_features() -> None:
    assert not list(build_encoder(HOGConfig(), 3, 32).parameters())
    assert not list(build_encoder(PixelsConfig(), 3, 32).parameters())


def test_no_more_images_than_allowed_are_used_and_those_evenly_spaced(digits: tuple[Rows, Rows, Rows]) -> None:
    labelled, validation, test = digits
    config, every = (BaselineConfig(features=(PixelsConfig(),), most=most) for most in (50, 20_000))
    few = [
        fit_baselines(config, labelled, validation)[0],
        fit_baselines(every, sampled(labelled, 50), sampled(validation, 50))[0],
    ]
    assert few[0].validation == few[1].validation
    assert np.array_equal(*(probabilities(each.classifier, test.images) for each in few))
