"""The way back from feature maps: what methods that foretell something of every pixel have above an encoder."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Upsampler(nn.Module):
    """Feature maps [B, width, h, w] to maps [B, channels, *size] of any size.

    Args:
        width: of the feature maps.
        stages: channels, each stage of twice the height and width of the one before.
        channels: of what is made.
        beside: channels of an image of the wanted size that the last layers see too, so that they need not make up its
            edges; 0 for none.
    """

    def __init__(self, width: int, stages: tuple[int, ...], channels: int, beside: int = 0):
        super().__init__()
        inputs = [width, *stages[:-1]]
        inputs[-1] += beside
        pairs = zip(inputs, stages, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairs)
        self.last = nn.Conv2d(stages[-1], channels, 1)

    def forward(self, maps: Tensor, size: tuple[int, ...], beside: Tensor | None = None) -> Tensor:
        """The maps; `size` is their height and width, `beside` is [B, beside, *size]."""
        for left, convolution in zip(reversed(range(len(self.convolutions))), self.convolutions, strict=True):
            maps = F.interpolate(maps, [math.ceil(side / 2**left) for side in size])
            if beside is not None and not left:
                maps = torch.cat([maps, beside], dim=1)
            maps = F.relu(convolution(maps))
        made: Tensor = self.last(maps)
        return made
