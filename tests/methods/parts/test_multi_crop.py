"""Which views share a forward pass."""

import torch
from torch import nn

from repflow.methods.parts.multi_crop import by_size
from repflow.randomness.draws import Draw

NETWORK = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveMaxPool2d(1), nn.Flatten())


def test_views_of_one_size_share_batch_statistics() -> None:
    draw = Draw(0, "views")
    large = [draw.stream(f"large-{number}").uniform(4, 3, 16, 16) * number for number in (1, 2)]
    small = [draw.stream(f"small-{number}").uniform(4, 3, 8, 8) * number for number in (3, 4, 5)]
    found = by_size(NETWORK, [*large, *small])
    assert torch.equal(found, torch.cat([NETWORK(torch.cat(large)), NETWORK(torch.cat(small))]))
    assert not torch.allclose(found, torch.cat([NETWORK(view) for view in [*large, *small]]))
