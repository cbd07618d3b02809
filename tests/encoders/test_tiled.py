"""The encoder of tiles against tiles that are cut, resized and standardised by hand."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.encoders import Encoder, EncoderConfig, HeadConfig, build_encoder
from repflow.encoders.build import forward_flops
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.lightness import LightnessConfig
from repflow.encoders.model_files import Description, load_classifier, load_encoder, read_description, save_model
from repflow.encoders.pretrained import TimmConfig, fill
from repflow.encoders.pretrained.encoder import PretrainedEncoder
from repflow.encoders.tiled import TiledConfig, TiledEncoder, standardised, windows
from repflow.errors import ParameterError
from repflow.evaluation.features import probabilities
from repflow.schema import build

SMALL = SmallConfig(widths=(8, 16))
WHOLE = TiledConfig(inner=SMALL, grid=3, window=0.25, side=12, standardise=True)
PREPROCESSING = {"size": 24, "channels": 3, "resize": "stretch"}
IMAGES = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def made(config: TiledConfig, size: int = 24) -> TiledEncoder:
    torch.manual_seed(0)
    encoder = build_encoder(config, 3, size).eval()
    assert isinstance(encoder, TiledEncoder)
    encoder.set_normalisation(torch.tensor([0.3, 0.4, 0.5]), torch.tensor([0.1, 0.2, 0.3]))
    return encoder


def test_the_features_are_the_mean_over_tiles_that_are_cut_resized_and_standardised_by_hand() -> None:
    encoder = made(WHOLE)
    features, maps = encoder(IMAGES), encoder.maps(IMAGES)
    assert maps.shape == (2, 16, 3, 3)
    for number, image in enumerate(IMAGES):
        found = []
        for row, top in enumerate((0, 9, 18)):
            for column, left in enumerate((0, 9, 18)):
                tile = F.interpolate(image[None, :, top : top + 6, left : left + 6], (12, 12), mode="bilinear")[0]
                values = tile.double().numpy()
                spread = values.std(axis=(1, 2), keepdims=True) + 0.01
                standard = torch.from_numpy((values - values.mean(axis=(1, 2), keepdims=True)) / spread).float()
                each = encoder.inner.body(standard[None])[0]  # what comes after the input normalisation
                assert torch.allclose(maps[number, :, row, column], each, atol=1e-4)
                found.append(each)
        assert torch.allclose(features[number], torch.stack(found).mean(0), atol=1e-4)


def test_tiles_keep_their_values_and_their_size_unless_told() -> None:
    encoder = made(TiledConfig(inner=SMALL, grid=7, window=0.25))
    maps = encoder.maps(IMAGES)
    assert torch.allclose(maps[:, :, 2, 5], encoder.inner(IMAGES[:, :, 6:12, 15:21]), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(24, 24), (20, 31)])
def test_windows_reach_from_border_to_border(height: int, width: int) -> None:
    image = torch.arange(float(height * width)).view(1, 1, height, width)
    found = windows(image, 4, 0.3)
    side = found.shape[-1]
    assert found.shape == (1, 4, 4, 1, side, side)
    assert torch.equal(found[0, 0, 0], image[0, :, :side, :side])
    assert torch.equal(found[0, 3, 3], image[0, :, -side:, -side:])
    assert torch.equal(found[0, 0, 3], image[0, :, :side, -side:])
    assert found[0, :, 0, 0, 0, 0].diff().unique().numel() <= 2, "evenly, to a pixel"
    assert torch.equal(windows(image, 1, 0.3)[0, 0, 0, 0, 0, 0], image[0, 0, (height - side) // 2, (width - side) // 2])


def test_the_inner_encoder_gets_the_statistics_of_the_images_unless_it_has_its_own() -> None:
    encoder = made(WHOLE)
    assert encoder.inner.mean.flatten().tolist() == pytest.approx([0.3, 0.4, 0.5])

    class Fixed(Encoder):
        fixed_normalisation = True

    inner = Fixed(torch.nn.Flatten(), 3 * 144, 3)
    around = TiledEncoder(WHOLE, inner, 3)
    around.set_normalisation(torch.tensor([0.3, 0.4, 0.5]), torch.tensor([0.1, 0.2, 0.3]))
    assert inner.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    tiles = IMAGES[:, :, :12, :12]
    assert torch.allclose(around.see(tiles), standardised(tiles).flatten(1), atol=1e-5), "for any inner one"


def test_a_tile_may_be_seen_by_its_lightness() -> None:
    encoder = made(TiledConfig(inner=LightnessConfig(inner=SMALL), grid=2, window=0.5))
    assert next(encoder.parameters()).shape[1] == 1
    assert encoder(IMAGES).shape == (2, 16)


def test_a_model_of_tiles_is_restored(tmp_path: Path) -> None:
    encoder, description = made(WHOLE), Description(WHOLE, PREPROCESSING)
    save_model(tmp_path / "model", encoder, description)
    assert read_description(tmp_path / "model") == description
    with torch.no_grad():
        assert torch.equal(load_encoder(tmp_path / "model")(IMAGES), encoder(IMAGES))


@pytest.mark.parametrize(
    "config",
    [WHOLE, LightnessConfig(inner=SMALL), TiledConfig(inner=LightnessConfig(inner=SMALL), grid=4, window=0.3)],
    ids=["tiles", "lightness", "lightness of tiles"],
)
def test_an_exported_model_predicts_the_same(config: TiledConfig | LightnessConfig, tmp_path: Path) -> None:
    description = Description(config, PREPROCESSING, HeadConfig(), ("cat", "dog"))
    torch.manual_seed(0)
    save_model(tmp_path / "model", description.new_classifier(description.new_encoder()), description)
    output = tmp_path / "classifier.onnx"
    result = CliRunner().invoke(app, ["export", str(output), "--model", str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 24, 24), np.uint8)
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": (images / 255).astype(np.float32)})
    assert found == pytest.approx(probabilities(load_classifier(tmp_path / "model")[0], images), abs=1e-5)


def test_a_forward_pass_is_one_for_each_tile() -> None:
    assert forward_flops(WHOLE, 3, 24) == 9 * forward_flops(SMALL, 3, 12)


def test_weights_of_others_are_loaded_into_the_inner_encoder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = timm.create_model("test_resnet").state_dict()
    save_file(theirs, tmp_path / "weights.safetensors")
    pretrained = TimmConfig(model="test_resnet", weights=str(tmp_path / "weights.safetensors"))
    for config in (
        TiledConfig(inner=pretrained, grid=2, window=0.5),
        TiledConfig(inner=LightnessConfig(inner=pretrained), grid=2, window=0.5),
        LightnessConfig(inner=pretrained),
    ):
        torch.manual_seed(2)
        encoder = build_encoder(config, 3, 24).eval()
        assert fill(encoder, config) is not None
        (found,) = (module for module in encoder.modules() if isinstance(module, PretrainedEncoder))
        assert torch.equal(found.model.get_parameter("conv1.0.weight"), theirs["conv1.0.weight"])
        with torch.no_grad():
            assert torch.isfinite(encoder(IMAGES)).all()


def test_an_encoder_of_tiles_of_tiles_is_refused() -> None:
    inner = {"name": "tiled", "inner": {"name": "small"}}
    with pytest.raises(ParameterError, match=r'encoder\.inner\.name: "tiled" is not allowed'):
        build(EncoderConfig, {"name": "tiled", "inner": inner}, "encoder")


def test_a_standardised_tile_has_mean_0_and_contrast_1_and_a_flat_one_stays_flat() -> None:
    tiles: Tensor = standardised(torch.stack([IMAGES[:, :, :10, :10], torch.full((2, 3, 10, 10), 0.7)], dim=1))
    assert tiles[:, 0].mean((-2, -1)).abs().max() < 1e-5
    assert tiles[:, 0].std((-2, -1), correction=0).min() > 0.95
    assert tiles[:, 1].abs().max() < 1e-4
