"""Features of all layers against PyTorch's pooling of what hooks see."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from repflow.encoders import Encoder, EncoderConfig, build_encoder
from repflow.encoders.layers import layers
from repflow.encoders.multi_layer import MultiLayerEncoder
from repflow.errors import ParameterError
from repflow.randomness.draws import Draw
from repflow.schema import build


def new(inner: dict[str, Any], grid: int = 4, size: int = 24) -> Encoder:
    torch.manual_seed(0)
    config = {"name": "multi_layer", "inner": inner, "grid": grid}
    return build_encoder(build(EncoderConfig, config, "encoder"), 3, size).eval()


INNER = [
    {"name": "small", "widths": [4, 8, 8]},
    {"name": "small_resnet", "widths": [4, 8]},
    {"name": "resnet18"},
]


@pytest.mark.parametrize("inner", INNER, ids=lambda each: each["name"])
@pytest.mark.parametrize("grid", [1, 4, 5])
def test_features_are_the_max_pooled_outputs_of_all_layers(inner: dict[str, Any], grid: int) -> None:
    encoder = new(inner, grid)
    assert isinstance(encoder, MultiLayerEncoder)
    images = Draw(0, "images").uniform(2, 3, 24, 24)
    seen: list[torch.Tensor] = []
    for layer in layers(encoder.inner):
        layer.modules[0][-1].register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    with torch.no_grad():
        own = encoder.inner(images)
        count, expected = len(seen), []
        for maps in seen[:count]:
            sides = [min(grid, side) for side in maps.shape[2:]]
            expected.append(F.adaptive_max_pool2d(maps, sides).flatten(1))
        found = encoder(images)
    assert count > 1
    assert torch.equal(found, torch.cat(expected, dim=1))
    assert found.shape == (2, encoder.width)
    assert torch.allclose(encoder.maps(images).mean(dim=(2, 3)), own, atol=1e-5)


def test_the_normalisation_is_the_inner_encoders_too() -> None:
    encoder = new(INNER[0])
    assert isinstance(encoder, MultiLayerEncoder)
    encoder.set_normalisation(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6]))
    assert torch.equal(encoder.inner.mean, encoder.mean)
    assert torch.equal(encoder.inner.std, encoder.std)


def test_an_encoder_that_is_no_sequence_of_maps_is_refused() -> None:
    with pytest.raises(ParameterError, match="multi_layer reads the layers of small"):
        new({"name": "vit_tiny", "patch": 4, "layers": 2})
