"""The layers of every kind of encoder, from its input to its features."""

from typing import Any

import pytest
import torch
from torch import nn

from repflow.encoders import EncoderConfig, build_encoder
from repflow.encoders.layers import layers
from repflow.schema import build


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({"name": "small"}, 5),
        ({"name": "small_resnet"}, 4),
        ({"name": "small_resnet", "blocks": 2}, 7),
        ({"name": "resnet18"}, 5),
        ({"name": "lenet"}, 2),
        ({"name": "vit_tiny", "layers": 3}, 4),
        ({"name": "split", "half": {"name": "small"}}, 5),
        ({"name": "multi_layer", "inner": {"name": "small"}}, 5),
        ({"name": "sobel", "inner": {"name": "small"}}, 5),
        ({"name": "lightness", "inner": {"name": "small"}}, 5),
        ({"name": "tiled", "inner": {"name": "small"}}, 5),
        ({"name": "pixels"}, 0),
    ],
)
def test_layers_have_all_modules_that_learn_once_and_in_order(config: dict[str, Any], count: int) -> None:
    encoder = build_encoder(build(EncoderConfig, config, "encoder"), 3, 32)
    found = layers(encoder)
    assert len(found) == count
    members = [module for layer in found for half in layer.modules for module in half]
    inside = [id(parameter) for module in members for parameter in module.parameters()]
    free = ("class_token", "pos_embedding")  # of a transformer: in no layer
    every = {id(each) for name, each in encoder.named_parameters() if not name.endswith(free)}
    assert len(inside) == len(set(inside))
    assert set(inside) == (every if count else set())

    called: list[nn.Module] = []
    for module in members:
        module.register_forward_hook(lambda module, _, __: called.append(module))
    encoder.eval()(torch.rand(2, 3, 32, 32))
    assert all(one in called for one in members)
    for half in range(len(found[0].modules) if found else 0):
        order = [called.index(layer.modules[half][-1]) for layer in found]
        assert order == sorted(order)
