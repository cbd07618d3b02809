"""A convolutional decoder: features to images."""

import math

import torch.nn.functional as F
from torch import Tensor, nn


class Decoder(nn.Module):
    """Features [B, width] to images [B, channels, *size] of any size."""

    def __init__(self, width: int, stages: tuple[int, ...], channels: int):
        super().__init__()
        self.seed = nn.Linear(width, stages[0] * 16)
        pairs = zip(stages, stages[1:] + stages[-1:], strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in pairs)
        self.last = nn.Conv2d(stages[-1], channels, 1)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """The images; `size` is their height and width."""
        maps = self.seed(features).unflatten(1, (-1, 4, 4))
        for left, convolution in zip(reversed(range(len(self.convolutions))), self.convolutions, strict=True):
            stage = [math.ceil(side / 2**left) for side in size]
            maps = F.relu(convolution(F.interpolate(maps, stage)))
        images: Tensor = self.last(maps)
        return images
