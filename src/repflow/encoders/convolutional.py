"""Small convolutional networks that can be trained on a CPU in minutes."""

from typing import Literal

from torch import nn

from repflow.encoders.encoder import Pooled
from repflow.schema import Count, parameters


@parameters
class SmallConfig:
    """A 5x5 convolution, then pairs of 3x3 convolutions, each stage of stride 2, then global average pooling.

    With stride 2 in the first stage it is four times as fast on a CPU as with a first stage at full resolution. Group
    normalisation rather than batch normalisation: features do not depend on the batch, so that batches from two
    domains, or divided among processes, need no special treatment.
    """

    name: Literal["small"] = "small"
    widths: tuple[Count, ...] = (32, 64, 128)


@parameters
class LeNetConfig:
    """The features of Ganin et al. (JMLR 2016) for MNIST: 32 and 48 5x5 filters, each max-pooled, no padding."""

    name: Literal["lenet"] = "lenet"
    widths: tuple[Count, Count] = (32, 48)


def small(config: SmallConfig, channels: int) -> tuple[nn.Module, int]:
    """The body of the small network, and the dimension of its features."""
    first, *others = config.widths
    layers = [_convolution(channels, first, kernel=5, stride=2)]
    inputs = first
    for width in others:
        layers += [_convolution(inputs, width, stride=2), _convolution(width, width)]
        inputs = width
    return Pooled(nn.Sequential(*layers)), inputs


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(_groups(outputs), outputs),
        nn.ReLU(inplace=True),
    )


def _groups(width: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if width % groups == 0)


def lenet(config: LeNetConfig, channels: int, size: int) -> tuple[nn.Module, int]:
    """The body of the LeNet-like network for images of `size` pixels, and the dimension of its features."""
    first, second = config.widths
    body = nn.Sequential(
        nn.Conv2d(channels, first, 5),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    side = ((size - 4) // 2 - 4) // 2
    return body, second * side * side
