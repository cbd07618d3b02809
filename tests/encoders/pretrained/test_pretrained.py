"""Encoders of timm and torchvision: the libraries' own outputs, what is taken over, sizes, channels and maps."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.transforms import v2

from repflow.encoders import Encoder, EncoderConfig, build_encoder
from repflow.encoders.encoder import normalise_by
from repflow.encoders.pretrained import TimmConfig, TorchvisionConfig, check_model, fill
from repflow.encoders.pretrained.encoder import PretrainedEncoder, resize
from repflow.encoders.pretrained.torchvision import Torchvision
from repflow.errors import ParameterError
from repflow.methods.pretext import bag_of_visual_words
from repflow.randomness.draws import seeded
from repflow.schema import build

IMAGES = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Trained = Callable[[nn.Module], Any]


def filled(config: Any, channels: int = 3, size: int = 160) -> PretrainedEncoder:
    """The encoder in double precision: random weights amplify rounding errors of single precision at will."""
    encoder = build_encoder(config, channels, size)
    fill(encoder, config)
    assert isinstance(encoder, PretrainedEncoder)
    return encoder.eval().double()


def normal(images: torch.Tensor, mean: Any, std: Any) -> torch.Tensor:
    return v2.functional.normalize(images, list(mean), list(std))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "resnet10t", "mobilenetv3_small_050"])
def test_features_are_those_of_timm(trained: Trained, tmp_path: Path, name: str) -> None:
    model = trained(timm.create_model(name))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    encoder = filled(TimmConfig(model=name, weights=str(tmp_path / "weights.safetensors")))
    data = timm.data.resolve_model_data_config(model)
    side = data["input_size"][1]
    assert encoder.takes.size == (side, side)
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model.double()
    with torch.no_grad():
        theirs = model.forward_head(model.forward_features(normal(images, data["mean"], data["std"])), pre_logits=True)
        ours = encoder(images)
    assert ours.shape == (2, encoder.width)
    assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ours[0], ours[1])


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "googlenet"])
def test_logits_from_the_features_are_those_of_torchvision(trained: Trained, tmp_path: Path, name: str) -> None:
    """The library's own model with its own head, as it is with its own weights."""
    adapted = {"transform_input": True, "init_weights": True} if name == "googlenet" else {}
    model = trained(models.get_model(name, **adapted))
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    encoder = filled(TorchvisionConfig(model=name, weights=str(tmp_path / "weights.pth")))
    preset = models.get_model_weights(name).DEFAULT.transforms()  # type: ignore[attr-defined]
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model.double()
    heads = {
        "resnet18": lambda features: model.fc(features),  # type: ignore[operator]
        "mobilenet_v3_small": lambda features: model.classifier[-1](features),  # type: ignore[index, operator]
        "googlenet": lambda features: model.fc(features),  # type: ignore[operator]
    }
    with torch.no_grad():
        theirs, ours = model(normal(images, preset.mean, preset.std)), encoder(images)
        if name == "squeezenet1_1":  # its classes are the channels of a convolution, which comes before the pooling
            maps = model.features(normal(images, preset.mean, preset.std))  # type: ignore[operator]
            theirs = F.relu(maps).mean((2, 3))
        else:
            ours = heads[name](ours)
    assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_vit_takes_another_size_with_interpolated_positions(trained: Trained, tmp_path: Path) -> None:
    model = trained(timm.create_model("test_vit"))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    encoder = filled(TimmConfig(model="test_vit", weights=str(tmp_path / "weights.safetensors"), size=64))
    assert encoder.takes.size == (64, 64)
    own: Any = encoder.model
    assert own.pos_embed.shape[1] == 17 != model.pos_embed.shape[1]
    assert torch.equal(own.patch_embed.proj.weight, model.patch_embed.proj.weight)
    with torch.no_grad():
        assert encoder(IMAGES).shape == (2, encoder.width)


def test_a_torchvision_vit_takes_another_size() -> None:
    small = {"patch_size": 32, "num_layers": 1, "num_heads": 1, "hidden_dim": 8, "mlp_dim": 8}
    theirs: Any = models.VisionTransformer(image_size=224, **small)
    ours: Any = models.VisionTransformer(image_size=64, **small)
    ours.heads = nn.Identity()
    Torchvision(TorchvisionConfig(model="vit_b_32", size=64)).load(ours, theirs.state_dict(), Path("weights.pth"))
    assert ours.encoder.pos_embedding.shape[1] == 1 + 4
    assert torch.equal(ours.encoder.pos_embedding[:, :1], theirs.encoder.pos_embedding[:, :1])
    assert torch.equal(ours.conv_proj.weight, theirs.conv_proj.weight)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TimmConfig(model="resnt18"), r"encoder\.model: timm has no model 'resnt18'; did you mean resnet18 or "),
        (TimmConfig(model="resnet18.a1_in1"), r"timm has no model 'resnet18\.a1_in1'; did you mean resnet18\.a1_in1k"),
        (
            TorchvisionConfig(model="resnet19"),
            r"torchvision has no classification model 'resnet19'; did you mean res",
        ),
        (TorchvisionConfig(model="fcn_resnet50"), "torchvision has no classification model 'fcn_resnet50'"),
    ],
)
def test_an_unknown_model_has_nearest_matches(config: Any, message: str) -> None:
    for refused in (check_model, lambda config: build_encoder(config, 3, 32)):
        with pytest.raises(ParameterError, match=message):
            refused(config)


@pytest.mark.parametrize(
    "config", [TimmConfig(model="test_vit", size=20), TorchvisionConfig(model="vit_b_32", size=40)]
)
def test_a_size_that_the_model_does_not_take_is_refused(config: Any) -> None:
    with pytest.raises(ParameterError, match=r"encoder\.size"):
        build_encoder(config, 3, 32)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ParameterError, match=r"timm is not installed; run `pip install 'repflow\[timm\]'`"):
        build_encoder(TimmConfig(model="test_vit"), 3, 32)


def test_the_librarys_normalisation_stays() -> None:
    encoder = build_encoder(TimmConfig(model="resnet10t"), 3, 8)
    normalise_by(encoder, np.random.default_rng(0).integers(0, 99, (9, 3, 8, 8), dtype=np.uint8))
    assert encoder.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert encoder.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(40, 64), (9, 50), (33, 7)])
def test_images_are_resized_as_torchvision_does(interpolation: str, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, 33, 50, generator=torch.Generator().manual_seed(0)).round()
    theirs = v2.functional.resize(images, list(size), v2.InterpolationMode(interpolation), antialias=True).clamp(0, 1)
    assert torch.allclose(resize(images, size, interpolation), theirs, atol=1e-5)
    assert resize(images.double(), size, interpolation).dtype == torch.float64


def test_a_gradient_reaches_the_images() -> None:
    images = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    resize(images, (16, 16), "bilinear").sum().backward()
    assert images.grad is not None
    assert torch.allclose(images.grad, torch.full_like(images.grad, 4.0))


def test_grey_images_are_those_with_three_equal_channels(resnet_file: Path) -> None:
    config = TimmConfig(model="test_resnet", weights=str(resnet_file))
    encoder, grey = filled(config, channels=1), IMAGES[:, :1, :28, :28]
    with torch.no_grad():
        assert torch.equal(encoder(grey), filled(config)(grey.repeat(1, 3, 1, 1)))
        assert encoder.maps(grey).shape[:2] == (2, encoder.width)


def test_feature_maps_are_those_before_the_pooling(resnet_file: Path) -> None:
    for config in (
        TimmConfig(model="test_resnet", weights=str(resnet_file)),
        TorchvisionConfig(model="resnet18", size=64),
        TorchvisionConfig(model="efficientnet_b0", size=64),
    ):
        encoder = filled(config)
        with torch.no_grad():
            maps = encoder.maps(IMAGES)
            assert maps.shape[0] == 2
            assert maps.shape[2] > 1
            assert torch.allclose(maps.mean((2, 3)), encoder(IMAGES), atol=1e-5)


def words(encoder: Encoder) -> nn.Module:
    return bag_of_visual_words.BagOfVisualWords(bag_of_visual_words.Config(perturb=(), words=4), encoder)


@pytest.mark.parametrize("name", ["test_vit", "mobilenetv3_small_050", "test_convnext"])
def test_a_model_without_maps_is_refused_where_a_method_needs_them(name: str) -> None:
    encoder = build_encoder(TimmConfig(model=name), 3, 32)
    for use in (lambda: encoder.maps(IMAGES), lambda: words(encoder)):
        with pytest.raises(ParameterError, match="feature maps: small, resnet18, resnet50, or a convolutional one"):
            use()


def test_random_weights_are_a_function_of_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        with seeded(seed, "weights"):
            encoder = build_encoder(TimmConfig(model="test_vit"), 3, 32)
        return torch.cat([value.flatten() for value in encoder.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_training_draws_nothing_from_the_global_generator() -> None:
    """A resumed training would draw something else."""
    encoder = build_encoder(TorchvisionConfig(model="efficientnet_b0", size=64), 3, 64).train().double()
    before = torch.get_rng_state()  # as it is, the model has dropout and stochastic depth
    one = encoder(IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(one, encoder(IMAGES))


def test_parameters_are_strict() -> None:
    values = {"name": "timm", "model": "test_vit", "weights": None, "size": 64}
    assert build(EncoderConfig, values, "encoder") == TimmConfig(model="test_vit", size=64)  # type: ignore[type-var]
    for wrong in ({"weights_sha256": "abc"}, {"size": 0}, {"weights": ""}, {"pretrained": True}):
        with pytest.raises(ParameterError, match=f"encoder.*{next(iter(wrong))}"):
            build(EncoderConfig, {**values, **wrong}, "encoder")  # type: ignore[type-var]
