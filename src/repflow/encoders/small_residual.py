"""A small residual network behind a local contrast normalisation: what a CPU trains in minutes on images of any kind.

He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016 (blocks). Jarrett, Kavukcuoglu, Ranzato,
LeCun. What is the Best Multi-Stage Architecture for Object Recognition? ICCV 2009 (local contrast normalisation).
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from repflow.encoders.encoder import Pooled
from repflow.schema import Count, Positive, parameters

_LARGE = 48
"""Pixels a side from which images are reduced to a quarter, not to a half, before the first block."""


@parameters
class SmallResNetConfig:
    """The parameters of the small residual network.

    Attributes:
        widths: channels of each stage; every stage but the first halves the resolution.
        blocks: residual blocks of each stage.
        contrast: pixels a side of the neighbourhood whose mean and deviation the input is normalised by; None for none.
        floor: least deviation that is normalised by, in units of the normalised input, so that noise in flat areas is
            not amplified.
    """

    name: Literal["small_resnet"] = "small_resnet"
    widths: tuple[Count, ...] = (32, 64, 128)
    blocks: Count = 1
    contrast: Annotated[int, Field(ge=3)] | None = 9
    floor: Positive = 0.1


def small_resnet(config: SmallResNetConfig, channels: int, size: int) -> tuple[nn.Module, int]:
    """The body for images of `size` pixels, and the dimension of its features.

    Batch normalisation, not group normalisation, as the trials in docs/recipes.md suggest.
    """
    width = config.widths[0]
    layers: list[nn.Module] = [] if config.contrast is None else [LocalContrast(config.contrast, config.floor)]
    layers += [nn.Conv2d(channels, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    if size >= _LARGE:
        layers.append(nn.MaxPool2d(3, 2, 1))
    for stage, outputs in enumerate(config.widths):
        for block in range(config.blocks):
            layers.append(Block(width, outputs, stride=2 if stage and not block else 1))
            width = outputs
    return Pooled(nn.Sequential(*layers)), width


class LocalContrast(nn.Module):
    """Subtract the mean brightness around each pixel, and divide by the deviation from it.

    The mean is that of all channels, so that colour stays.

    Args:
        size: pixels a side of the neighbourhood; at least 3, and cut to what an image has.
        floor: added to the variance as its square.
    """

    def __init__(self, size: int, floor: float):
        super().__init__()
        self._size, self._floor = size, floor

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [B, channels, H, W] of images [B, channels, H, W]."""
        centred = images - self._around(images.mean(1, keepdim=True))
        variance = self._around(centred.square().mean(1, keepdim=True))
        return centred * torch.rsqrt(variance + self._floor**2)

    def _around(self, values: Tensor) -> Tensor:
        """The mean of the neighbourhood of each pixel; images are mirrored at their borders: [B, 1, H, W]."""
        half = min(self._size // 2, values.shape[-1] - 1, values.shape[-2] - 1)
        size = 2 * half + 1
        padded = F.pad(values, (half,) * 4, mode="reflect")
        return _sliding_mean(_sliding_mean(padded, size, -1), size, -2)  # of rows, then of columns: fewer sums


def _sliding_mean(values: Tensor, size: int, dim: int) -> Tensor:
    """The mean of every `size` neighbours along `dim`, which is shorter by `size` - 1.

    On a CPU it takes a fifth of the time of `avg_pool2d`, which does not vectorise windows of a single channel.
    """
    count = values.shape[dim] - size + 1
    total = values.narrow(dim, 0, count).clone()
    for start in range(1, size):
        total += values.narrow(dim, start, count)
    return total / size


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which averages where the block has a stride (He et al., CVPR 2019).

    The second normalisation starts at zero, so that the block starts as its shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.second_norm.weight)
        shortcut: list[nn.Module] = []
        if stride > 1:
            shortcut.append(nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False))
        if inputs != outputs:
            shortcut += [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, outputs, H / stride, W / stride] of maps [B, inputs, H, W]."""
        inner = F.relu(self.first_norm(self.first(maps)), inplace=True)
        residual: Tensor = self.second_norm(self.second(inner))
        return F.relu(residual + self.shortcut(maps), inplace=True)
