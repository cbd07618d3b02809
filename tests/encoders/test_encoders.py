"""Every encoder in conf/, input normalisation and heads."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightly.models.utils import get_2d_sine_cosine_positional_embedding

from repflow.encoders import Classifier, Encoder, EncoderConfig, HeadConfig, build_encoder
from repflow.encoders import encoder as encoder_module
from repflow.encoders.classifier import build_head
from repflow.encoders.convolutional import LeNetConfig, SmallConfig
from repflow.encoders.encoder import normalise_by
from repflow.encoders.transformer import Tokens, ViTConfig, sine_cosine_positions
from repflow.errors import ParameterError
from repflow.randomness.draws import seeded
from repflow.schema import build

CONF = Path(__file__).parents[2] / "conf" / "encoder"
CHOICES = sorted(path.stem for path in CONF.glob("*.yaml"))


def encoder(choice: str, channels: int = 3, size: int = 32) -> Encoder:
    values: dict[str, Any] = yaml.safe_load((CONF / f"{choice}.yaml").read_text())
    config: Any = build(EncoderConfig, values, f"conf/encoder/{choice}.yaml")  # type: ignore[type-var]
    return build_encoder(config, channels, size)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_encodes_images(choice: str) -> None:
    for channels, size in ((3, 32), (1, 28)):
        made = encoder(choice, channels, size).eval()
        with torch.no_grad():
            features = made(torch.rand(2, channels, size, size))
        assert features.shape == (2, made.width)
        assert torch.isfinite(features).all()
        assert not torch.equal(features[0], features[1])


@pytest.mark.parametrize("choice", ["small", "lenet", "vit_tiny"])
def test_features_of_an_image_do_not_depend_on_its_batch(choice: str) -> None:
    made = encoder(choice).train()
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(made(images)[:1], made(images[:1]), atol=1e-5)


def test_parameter_counts_are_those_of_the_papers() -> None:
    def count(choice: str) -> float:
        return sum(weight.numel() for weight in encoder(choice).parameters()) / 1e6

    assert count("resnet18") == pytest.approx(11.17, abs=0.05)
    assert count("resnet50") == pytest.approx(23.5, abs=0.1)
    assert count("vit_tiny") == pytest.approx(5.4, abs=0.1)
    assert count("small") < 0.4


@pytest.mark.parametrize("size", [8, 16, 33])
def test_the_small_encoder_takes_images_of_any_size(size: int) -> None:
    assert build_encoder(SmallConfig(), 1, size)(torch.rand(1, 1, size, size)).shape == (1, 128)


def test_position_embeddings_are_interpolated_for_smaller_images() -> None:
    body = encoder("vit_tiny", size=32).body
    assert isinstance(body, Tokens)
    with torch.no_grad():
        columns = torch.arange(8.0).repeat(8)  # of each of 8x8 patches
        body.transformer.encoder.pos_embedding[:, 1:] = columns[None, :, None]
        images = torch.rand(2, 3, 16, 16)
        without = body.transformer.conv_proj(images).flatten(2).transpose(1, 2)
        found = (body.embed(images) - without).view(2, 4, 4, -1)  # rows and columns of patches
    assert torch.allclose(found[:, :, 1], torch.tensor(2.5), atol=1e-4)
    assert torch.allclose(found[:, :, 2], torch.tensor(4.5), atol=1e-4)
    assert body(images).shape == (2, 192)


@pytest.mark.parametrize(("side", "width"), [(4, 192), (7, 96)])
def test_fixed_positions_are_those_of_the_masked_autoencoder(side: int, width: int) -> None:
    wanted = get_2d_sine_cosine_positional_embedding(width, side)  # in single precision
    assert sine_cosine_positions(side, width)[0].numpy() == pytest.approx(wanted, abs=1e-5)


def test_fixed_positions_are_saved_and_not_trained() -> None:
    name = "transformer.encoder.pos_embedding"
    learned, fixed = ViTConfig(patch=4, layers=1), ViTConfig(patch=4, layers=1, positions="sine_cosine")
    for config, trained in ((learned, True), (fixed, False)):
        body = build_encoder(config, 3, 16).body
        assert name in body.state_dict()
        assert (name in dict(body.named_parameters())) == trained


def test_fixed_positions_are_interpolated_for_other_images() -> None:
    body = build_encoder(ViTConfig(patch=4, layers=1, positions="sine_cosine"), 3, 32).body
    assert isinstance(body, Tokens)
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        without = body.transformer.conv_proj(images).flatten(2).transpose(1, 2)
        found = (body.embed(images) - without)[0].unflatten(0, (4, 4))
    # The first sine is of the column; the centre of the new column 1 lies half-way between the old columns 2 and 3.
    assert found[:, 1, 0].tolist() == pytest.approx([math.sin(2.5)] * 4, abs=0.1)
    assert found[1, :, 96].tolist() == pytest.approx([math.sin(2.5)] * 4, abs=0.1)
    assert body(torch.rand(2, 3, 40, 40)).shape == (2, 192)


def test_features_are_the_class_token_or_the_mean_of_the_patch_tokens() -> None:
    for features in ("class", "mean"):
        made = build_encoder(ViTConfig(patch=4, layers=1, features=features), 3, 16).eval()
        body: Any = made.body
        seen: list[torch.Tensor] = []
        body.transformer.encoder.ln.register_forward_hook(lambda _, __, tokens, seen=seen: seen.append(tokens))
        with torch.no_grad():
            found = made(torch.rand(2, 3, 16, 16))
        (tokens,) = seen
        wanted = tokens[:, 0] if features == "class" else tokens[:, 1:].sum(1) / 16
        assert torch.allclose(found, wanted, atol=1e-6)


def test_xavier_weights_of_a_transformer() -> None:
    made: Any = build_encoder(ViTConfig(patch=4, layers=2, initial="xavier"), 3, 16).body.transformer
    first, second = made.encoder.layers
    shapes = {
        first.mlp[0].weight: 192 + 768,
        first.self_attention.out_proj.weight: 2 * 192,
        made.conv_proj.weight: 192 + 48,
    }
    for weight, size in shapes.items():
        assert weight.abs().max().item() == pytest.approx(math.sqrt(6 / size), rel=0.01)
        assert weight.mean().item() == pytest.approx(0, abs=0.01)
    assert not torch.equal(first.mlp[0].weight, second.mlp[0].weight)
    assert made.class_token.std().item() == pytest.approx(0.02, rel=0.2)
    usual: Any = build_encoder(ViTConfig(patch=4, layers=1), 3, 16).body.transformer
    assert not usual.class_token.any()


def test_lenet_keeps_the_feature_map() -> None:
    assert build_encoder(LeNetConfig(), 3, 28).width == 48 * 4 * 4


def test_a_patch_that_does_not_divide_the_image_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"encoder\.patch: 5 does not divide data\.size 32; allowed: \[1, 2, 4, 8"):
        build_encoder(ViTConfig(patch=5), 3, 32)


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(ParameterError, match=r'encoder\.name: "resnet19" is not allowed'):
        build(EncoderConfig, {"name": "resnet19"}, "encoder")  # type: ignore[type-var]


def test_images_are_normalised_by_the_training_statistics() -> None:
    generator = np.random.default_rng(0)
    images = generator.normal((60, 120, 180), (10, 20, 30), (5000, 4, 4, 3)).round().clip(0, 255).astype(np.uint8)
    images = images.transpose(0, 3, 1, 2)
    made = Encoder(torch.nn.Identity(), 3, 3)
    normalise_by(made, images)
    normal = made(torch.from_numpy(images).float() / 255)
    assert normal.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert normal.std((0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-3)


def test_constant_channels_are_not_scaled() -> None:
    made = Encoder(torch.nn.Identity(), 1, 1)
    normalise_by(made, np.full((3, 1, 2, 2), 51, np.uint8))
    assert made(torch.full((1, 1, 2, 2), 0.7)).flatten().tolist() == pytest.approx([0.5] * 4)


def test_normalisation_statistics_are_in_the_state_dict() -> None:
    assert {"mean", "std"} <= set(encoder("small").state_dict())


def test_random_weights_are_a_function_of_seed_and_stream() -> None:
    def weights(seed: int, stream: str) -> torch.Tensor:
        with seeded(seed, stream):
            return torch.cat([weight.flatten() for weight in build_encoder(SmallConfig(), 1, 8).parameters()])

    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert torch.equal(weights(0, "a"), weights(0, "a"))
    assert not torch.equal(weights(0, "a"), weights(1, "a"))
    assert not torch.equal(weights(0, "a"), weights(0, "b"))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_head_ends_in_the_output_layer() -> None:
    plain = build_head(HeadConfig(), 16, 10)
    deep = build_head(HeadConfig(hidden=(32, 8), dropout=0.5), 16, 10)
    assert [type(layer).__name__ for layer in plain] == ["Linear"]
    names = ["Linear", "ReLU", "Linear", "ReLU", "Dropout", "Linear"]
    assert [type(layer).__name__ for layer in deep] == names
    for head in (plain, deep):
        assert Classifier(Encoder(torch.nn.Flatten(), 16, 1), head).eval()(torch.rand(2, 1, 4, 4)).shape == (2, 10)


def test_images_in_a_file_are_normalised_as_those_in_memory_and_in_smaller_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 6, 6), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    found = []
    for each, values in ((images, 2**26), (np.load(tmp_path / "images.npy", mmap_mode="r"), 7 * 108)):
        monkeypatch.setattr(encoder_module, "_VALUES", values)
        made = build_encoder(SmallConfig(widths=(4, 8)), 3, 6)
        normalise_by(made, each)
        found.append((made.mean, made.std))
    assert torch.allclose(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1])
