"""Ensembles, votes of neighbours and concatenated features: what they compute, and that they are restored from disk."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from repflow.encoders import Classifier, HeadConfig, build_encoder
from repflow.encoders.build import ConcatenatedConfig
from repflow.encoders.classical import HOGConfig
from repflow.encoders.classifier import build_head
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.ensemble import Ensemble
from repflow.encoders.model_files import (
    Description,
    EnsembleDescription,
    load_classifier,
    load_encoder,
    read_any_description,
    read_description,
    save_model,
)
from repflow.encoders.neighbours import NeighboursConfig
from repflow.errors import DataError, ParameterError
from repflow.evaluation.features import probabilities
from repflow.evaluation.knn import KNNConfig, fit_knn

SMALL = SmallConfig(widths=(8, 16))
PREPROCESSING = {"size": 8, "channels": 1, "resize": "stretch"}
CLASSES = ("eins", "zwei", "drei")
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8), np.uint8)


def described(encoder: object = SMALL, head: object = HeadConfig(), temperature: float = 1.0) -> Description:
    return Description(encoder, PREPROCESSING, head, CLASSES, {"method": "made.up"}, temperature)


def classifier(description: Description, seed: int) -> Classifier:
    torch.manual_seed(seed)
    return description.new_classifier(description.new_encoder()).eval()


@pytest.fixture
def ensemble() -> tuple[Ensemble, EnsembleDescription]:
    """Two members, of which one carries its labelled images, with temperatures."""
    members = (described(temperature=0.5), described(head=NeighboursConfig(images=5, neighbours=2), temperature=2.0))
    description = EnsembleDescription(members, (0.75, 0.25), {"method": "ensemble"})
    parts = [classifier(member, seed) for seed, member in enumerate(members)]
    parts[1].head[-1].remember(torch.randn(5, 16), torch.tensor([0, 1, 2, 0, 1]))
    return Ensemble(parts, description.weights), description


def test_probabilities_are_the_weighted_mean_of_the_members(
    ensemble: tuple[Ensemble, EnsembleDescription],
) -> None:
    members = [probabilities(member, IMAGES) for member in ensemble[0].members]
    found = probabilities(ensemble[0], IMAGES)
    assert found == pytest.approx(0.75 * members[0] + 0.25 * members[1], abs=1e-6)
    assert found.sum(axis=1) == pytest.approx(1)


def test_an_ensemble_is_restored(tmp_path: Path, ensemble: tuple[Ensemble, EnsembleDescription]) -> None:
    save_model(tmp_path / "best", *ensemble)
    loaded, description = load_classifier(tmp_path / "best")
    assert description == ensemble[1] == read_any_description(tmp_path / "best")
    assert description.classes == CLASSES
    assert np.array_equal(probabilities(loaded, IMAGES), probabilities(ensemble[0], IMAGES))
    (tmp_path / "best" / "README.md").write_text("a card does not matter")
    assert loaded.classes == load_classifier(tmp_path / "best")[0].classes == 3


def test_an_ensemble_is_not_one_encoder(tmp_path: Path, ensemble: tuple[Ensemble, EnsembleDescription]) -> None:
    save_model(tmp_path / "best", *ensemble)
    for read in (load_encoder, read_description):
        with pytest.raises(DataError, match="holds an ensemble of several models; name the folder of one"):
            read(tmp_path / "best")


@pytest.mark.parametrize("damage", [{"members": 3}, {"weights": ["much"]}, {"members": [{"encoder": {}}]}])
def test_a_damaged_description_is_an_error_with_advice(
    tmp_path: Path, ensemble: tuple[Ensemble, EnsembleDescription], damage: dict[str, object]
) -> None:
    save_model(tmp_path / "best", *ensemble)
    path = tmp_path / "best" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(DataError, match=r"model\.json: not a .*train it"):
        load_classifier(tmp_path / "best")


def test_a_temperature_is_part_of_the_saved_model_and_changes_no_prediction(tmp_path: Path) -> None:
    description = described(temperature=4.0)
    warm = classifier(description, 0)
    save_model(tmp_path / "warm", warm, description)
    loaded, found = load_classifier(tmp_path / "warm")
    assert found == description
    cold = classifier(described(), 0)
    pairs = [probabilities(each, IMAGES) for each in (loaded, cold)]
    logits = np.log(pairs[1]) / 4
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert pairs[0] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(pairs[0].argmax(1), pairs[1].argmax(1))


def test_a_description_without_a_temperature_is_as_before(tmp_path: Path) -> None:
    save_model(tmp_path / "model", classifier(described(), 0), described())
    about = json.loads((tmp_path / "model/model.json").read_text())
    assert list(about) == ["kind", "encoder", "head", "classes", "preprocessing", "provenance"]
    assert load_classifier(tmp_path / "model")[1].temperature == 1.0


@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.07), (10, 0.07), (40, 0.5)])
def test_the_head_votes_as_the_knn_classifier_does(neighbours: int, temperature: float) -> None:
    generator = np.random.default_rng(0)
    train, queries = (generator.normal(size=(count, 12)).astype(np.float32) for count in (60, 200))
    train[30:40] = train[:10]  # copies, some with another label
    labels = generator.integers(0, 4, 60)
    knn = fit_knn(KNNConfig(neighbours, temperature), train, labels)
    head = build_head(NeighboursConfig(60, neighbours, temperature), 12, 5)
    head[-1].remember(torch.from_numpy(knn.features), torch.from_numpy(knn.labels))
    logits = head(torch.from_numpy(queries)).numpy()
    assert np.array_equal(logits.argmax(axis=1), knn.predict(queries))
    assert np.exp(logits).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(logits).all()


def test_features_of_several_encoders_stand_beside_each_other(tmp_path: Path) -> None:
    both = ConcatenatedConfig(parts=(SMALL, HOGConfig()))
    description = described(encoder=both)
    whole = classifier(description, 0)
    images = torch.rand(2, 1, 8, 8)
    parts = [part(images) for part in whole.encoder.parts]
    assert torch.equal(whole.encoder(images), torch.cat(parts, dim=1))
    assert whole.encoder.width == sum(part.shape[1] for part in parts)
    save_model(tmp_path / "model", whole, description)
    assert np.array_equal(probabilities(load_classifier(tmp_path / "model")[0], IMAGES), probabilities(whole, IMAGES))
    with pytest.raises(ParameterError, match="no feature maps"):
        whole.encoder.maps(images)


def test_every_part_normalises_its_input() -> None:
    encoder = build_encoder(ConcatenatedConfig(parts=(SMALL, SMALL)), 1, 8)
    encoder.set_normalisation(torch.tensor([0.3]), torch.tensor([0.2]))
    assert all(part.mean.item() == pytest.approx(0.3) for part in encoder.parts)
