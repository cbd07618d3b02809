"""Residual networks with a stem for small images.

He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016. The stem is the one of its CIFAR
experiments: a 3x3 convolution without stride and no max-pooling.
"""

from collections import OrderedDict
from typing import Literal

from torch import nn

from repflow.encoders.encoder import Pooled
from repflow.schema import parameters


@parameters
class ResNetConfig:
    """torchvision's ResNet-18 or -50, with the small-image stem unless `small_images` is false."""

    name: Literal["resnet18", "resnet50"]
    small_images: bool = True


def resnet(config: ResNetConfig, channels: int) -> tuple[nn.Module, int]:
    """The body, and the dimension of its features."""
    from torchvision import models

    body = getattr(models, config.name)(weights=None)
    width = body.fc.in_features
    if config.small_images:
        body.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        body.maxpool = nn.Identity()
    else:
        body.conv1 = nn.Conv2d(channels, 64, 7, 2, padding=3, bias=False)
    nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return Pooled(nn.Sequential(OrderedDict((name, getattr(body, name)) for name in names))), width
