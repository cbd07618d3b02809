"""Small convolutional networks that train in minutes on a CPU."""

from typing import Literal

from torch import nn

from repflow.schema import Count, parameters


@parameters
class SmallConfig:
    """Three stages of 3x3 convolutions, each halving the image, then an average over what is left.

    Group normalisation rather than batch normalisation: an image's features do not depend on its batch, so that
    batches from two domains, or shared between processes, need no special care.
    """

    name: Literal["small"] = "small"
    widths: tuple[Count, ...] = (32, 64, 128)


@parameters
class LeNetConfig:
    """The feature extractor of Ganin et al. (JMLR 2016) for MNIST: 32 and 48 5x5 filters, each max-pooled, no padding."""

    name: Literal["lenet"] = "lenet"
    widths: tuple[Count, Count] = (32, 48)


def small(config: SmallConfig, channels: int) -> tuple[nn.Module, int]:
    """The body, and the width of its features, of the small network."""
    layers: list[nn.Module] = []
    inputs = channels
    for position, width in enumerate(config.widths):
        stride = 1 if position == 0 else 2
        layers += [_convolution(inputs, width, stride), _convolution(width, width, 1)]
        if position == 0:
            layers.append(nn.MaxPool2d(2))
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.GroupNorm(_groups(outputs), outputs),
        nn.ReLU(inplace=True),
    )


def _groups(width: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if width % groups == 0)


def lenet(config: LeNetConfig, channels: int, size: int) -> tuple[nn.Module, int]:
    """The body, and the width of its features, of the LeNet-like network for images of `size` pixels."""
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
