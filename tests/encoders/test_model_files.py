"""Saving and loading of models, skipped models and damaged files."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from repflow.encoders import Encoder, HeadConfig
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.model_files import (
    Description,
    load_classifier,
    load_encoder,
    read_description,
    save_model,
    save_skipped,
    was_skipped,
)
from repflow.errors import DataError

ENCODER = Description(
    SmallConfig(widths=(8, 16)),
    {"size": 8, "channels": 1, "resize": "stretch"},
    provenance={"method": "pretext.simclr"},
)
CLASSIFIER = dataclasses.replace(ENCODER, head=HeadConfig(hidden=(12,)), classes=("eins", "zwei", "drei"))
IMAGES = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def new_encoder() -> Encoder:
    torch.manual_seed(0)
    encoder = ENCODER.new_encoder()
    encoder.set_normalisation(torch.tensor([0.3]), torch.tensor([0.2]))
    return encoder


def same(one: nn.Module, other: nn.Module) -> bool:
    with torch.no_grad():
        return torch.equal(one.eval()(IMAGES), other(IMAGES))


def test_an_encoder_is_restored(tmp_path: Path) -> None:
    encoder = new_encoder()
    save_model(tmp_path / "model", encoder, ENCODER)
    loaded = load_encoder(tmp_path / "model")
    assert same(encoder, loaded)
    assert not loaded.training
    assert read_description(tmp_path / "model") == ENCODER


def test_a_classifier_is_restored_with_its_classes(tmp_path: Path) -> None:
    classifier = CLASSIFIER.new_classifier(new_encoder())
    save_model(tmp_path / "model", classifier, CLASSIFIER)
    loaded, description = load_classifier(tmp_path / "model")
    assert same(classifier, loaded)
    assert description == CLASSIFIER
    assert same(classifier.encoder, load_encoder(tmp_path / "model"))


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "other/place"):
        save_model(tmp_path / folder, new_encoder(), ENCODER)
    for name in ("model.json", "weights.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other/place" / name).read_bytes()


def test_a_skipped_model_has_a_reason(tmp_path: Path) -> None:
    save_skipped(tmp_path / "model", "there is no target domain")
    assert was_skipped(tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["model.json"]
    with pytest.raises(DataError, match="holds no model: there is no target domain"):
        load_classifier(tmp_path / "model")


def test_an_encoder_is_not_a_classifier(tmp_path: Path) -> None:
    save_model(tmp_path / "model", new_encoder(), ENCODER)
    assert not was_skipped(tmp_path / "model")
    with pytest.raises(DataError, match="holds an encoder without a head; name a classifier's folder"):
        load_classifier(tmp_path / "model")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/model\.json: not a readable model"):
        load_encoder(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["truncated", "missing", "other"])
def test_damaged_weights_are_an_error_with_advice(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    save_model(folder, new_encoder(), ENCODER)
    weights = folder / "weights.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "missing":
        weights.unlink()
    else:
        about = json.loads((folder / "model.json").read_text())
        about["encoder"]["widths"] = [8, 24]
        (folder / "model.json").write_text(json.dumps(about))
    with pytest.raises(
        DataError, match=r"weights\.safetensors: (cannot be read|not the weights) .*train (the model|it) again"
    ):
        load_encoder(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"encoder": {"name": "small"}}', '{"encoder": {"name": "large"}}'])
def test_a_damaged_description_is_an_error_with_advice(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "model"
    save_model(folder, new_encoder(), ENCODER)
    (folder / "model.json").write_text(text)
    with pytest.raises(DataError, match=r"model\.json: not a .*train it"):
        load_encoder(folder)
