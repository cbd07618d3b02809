"""The features of each layer, against passes that stop there."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from repflow.encoders import Encoder, EncoderConfig, build_encoder
from repflow.encoders.layer_features import LayerFeatures, outputs, pooled, widths
from repflow.errors import ParameterError
from repflow.schema import build

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def encoder_of(**config: Any) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(build(EncoderConfig, config, "encoder"), 3, 32).eval()


def test_the_layers_of_a_convolutional_encoder_are_its_maps() -> None:
    encoder = encoder_of(name="small", widths=[8, 16])
    maps = encoder.normalise(IMAGES)
    found = outputs(encoder, IMAGES)
    assert len(found) == 3
    for module, output in zip(encoder.body.maps, found, strict=True):
        maps = module(maps)
        assert torch.equal(output, maps)
    assert torch.equal(pooled(found[-1], 1), encoder(IMAGES))


@pytest.mark.parametrize(
    "config", [{"name": "small_resnet"}, {"name": "resnet18"}, {"name": "split", "half": {"name": "small"}}]
)
def test_the_last_layer_pooled_is_what_the_encoder_gives(config: dict[str, Any]) -> None:
    encoder = encoder_of(**config)
    torch.testing.assert_close(pooled(outputs(encoder, IMAGES)[-1], 1), encoder(IMAGES))


def test_the_layers_of_a_transformer_have_a_position_for_each_patch() -> None:
    encoder = encoder_of(name="vit_tiny", layers=2)
    found = outputs(encoder, IMAGES)
    assert [tuple(each.shape) for each in found] == [(2, 192, 8, 8)] * 3
    tokens = encoder.body.attend(encoder.body.embed(encoder.normalise(IMAGES)))
    torch.testing.assert_close(found[-1].flatten(2).transpose(1, 2), tokens[:, 1:])


def test_the_layers_of_an_encoder_of_tiles_have_a_position_for_each_tile() -> None:
    encoder = encoder_of(name="tiled", inner={"name": "small", "widths": [8, 16]}, grid=2, window=0.5)
    found = outputs(encoder, IMAGES)
    assert [tuple(each.shape) for each in found] == [(2, 8, 2, 2), (2, 16, 2, 2), (2, 16, 2, 2)]
    tile = encoder.inner(IMAGES[:, :, :16, 16:])
    torch.testing.assert_close(found[-1][:, :, 0, 1], tile)
    torch.testing.assert_close(pooled(found[-1], 1), encoder(IMAGES))


def test_a_single_tile_has_the_positions_of_its_maps() -> None:
    encoder = encoder_of(name="tiled", inner={"name": "small", "widths": [8, 16]}, grid=1, window=1.0)
    for found, expected in zip(outputs(encoder, IMAGES), outputs(encoder.inner, IMAGES), strict=True):
        assert torch.equal(found, expected)


def test_maps_are_averaged_to_a_grid_that_is_no_finer_than_they_are() -> None:
    maps = torch.arange(32.0).view(1, 2, 4, 4)
    expected = F.avg_pool2d(maps, 2).flatten(1)
    assert torch.equal(pooled(maps, 2), expected)
    assert torch.equal(pooled(maps, 8), maps.flatten(1))


def test_a_layer_is_an_encoder() -> None:
    encoder = encoder_of(name="small", widths=[8, 16])
    assert widths(encoder, 32, 2) == [8 * 4, 16 * 4, 16 * 4]
    layer = LayerFeatures(encoder, 0, 2, widths(encoder, 32, 2)[0])
    features = layer(IMAGES)
    assert features.shape == (2, layer.width)
    assert torch.equal(features, pooled(outputs(encoder, IMAGES)[0], 2))
    assert not encoder.body.maps[0]._forward_hooks  # none is left behind


def test_an_encoder_without_layers_is_refused() -> None:
    with pytest.raises(ParameterError, match="no sequence of layers"):
        outputs(encoder_of(name="pixels"), IMAGES)
