"""A convolutional decoder for dense prediction: feature maps to maps of any size."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Upsampler(nn.Module):
    """Feature maps [B, width, h, w] to maps [B, channels, *size] of any size.

    Args:
        width: of the feature maps.
        stages: channels of the stages, each of which doubles height and width.
        channels: of the output.
        skip: channels of an image of the output size, a skip connection to the last stage that preserves edges; 0 for
            none.
    """

    def __init__(self, width: int, stages: tuple[int, ...], channels: int, skip: int = 0):
        super().__init__()
        inputs = [width, *stages[:-1]]
        inputs[-1] += skip
        pairs = zip(inputs, stages, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairs)
        self.last = nn.Conv2d(stages[-1], channels, 1)

    def forward(self, maps: Tensor, size: tuple[int, ...], skip: Tensor | None = None) -> Tensor:
        """Maps of height and width `size`; `skip` is [B, skip, *size]."""
        for left, convolution in zip(reversed(range(len(self.convolutions))), self.convolutions, strict=True):
            maps = F.interpolate(maps, [math.ceil(side / 2**left) for side in size])
            if skip is not None and not left:
                maps = torch.cat([maps, skip], dim=1)
            maps = F.relu(convolution(maps))
        made: Tensor = self.last(maps)
        return made
