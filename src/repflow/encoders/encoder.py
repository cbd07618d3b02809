"""The encoder class: input normalisation and a body."""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.data.read.memory_mapped import Images, LazyImages, at_once
from repflow.errors import ParameterError

WITH_MAPS = (
    "small, resnet18, resnet50, or a convolutional one of timm or torchvision whose features are its pooled maps"
)
"""The encoders with feature maps, for messages."""
_VALUES = 2**26
"""Values that are in memory at once, in double precision, while their mean is taken: half a gigabyte."""


class Pooled(nn.Module):
    """A body with global average pooling of its feature maps.

    Args:
        maps: normalised images [B, channels, size, size] to feature maps [B, width, h, w].
    """

    def __init__(self, maps: nn.Module):
        super().__init__()
        self.maps = maps

    def forward(self, normal: Tensor) -> Tensor:
        """Features [B, width]."""
        return F.adaptive_avg_pool2d(self.maps(normal), 1).flatten(1)


class Encoder(nn.Module):
    """Images to features.

    The channel means and deviations for input normalisation are buffers, and so are saved with the weights.

    Args:
        body: normalised images [B, channels, size, size] to features [B, width].
        width: dimension of the features.
        channels: of the images.
    """

    mean: Tensor
    std: Tensor

    fixed_normalisation: ClassVar[bool] = False
    """Whether mean and std belong to the architecture, so that `normalise_by` leaves them as they are."""

    def __init__(self, body: nn.Module, width: int, channels: int):
        super().__init__()
        self.body = body
        self.width = width
        self.register_buffer("mean", torch.full((channels, 1, 1), 0.5))
        self.register_buffer("std", torch.full((channels, 1, 1), 0.25))

    def set_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics of the input normalisation.

        Args:
            mean: [channels], of images in [0, 1].
            std: [channels]; constant channels are not scaled.
        """
        self.mean.copy_(mean.view(-1, 1, 1))
        self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)).view(-1, 1, 1))

    def normalise(self, images: Tensor) -> Tensor:
        """Images [B, channels, size, size] in [0, 1], normalised, in channels-last layout."""
        normal = (images - self.mean) / self.std
        # Convolutions are faster in channels-last layout, on CPUs and GPUs.
        return normal.contiguous(memory_format=torch.channels_last)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps [B, width, h, w], before pooling, of images [B, channels, size, size] in [0, 1].

        Raises:
            ParameterError: this encoder has no feature maps.
        """
        if not isinstance(self.body, Pooled):
            raise ParameterError(f"encoder: this method needs an encoder with feature maps: {WITH_MAPS}")
        maps: Tensor = self.body.maps(self.normalise(images))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, width] of images [B, channels, size, size] in [0, 1]."""
        features: Tensor = self.body(self.normalise(images))
        return features


def normalise_by(encoder: Encoder, images: Images) -> None:
    """Set the encoder's input normalisation to the statistics of these images, uint8 [N, channels, size, size].

    An encoder with an input normalisation of its own keeps it.
    """
    if encoder.fixed_normalisation:
        return
    mean, square = np.zeros(images.shape[1]), np.zeros(images.shape[1])
    if isinstance(images, np.memmap):
        images = LazyImages([(images, np.arange(len(images)))])  # which gives back the pages that it has read
    step = at_once(images, 4096, _VALUES)
    for start in range(0, len(images), step):
        values = images[start : start + step].astype(np.float64) / 255
        mean += values.sum(axis=(0, 2, 3))
        square += (values**2).sum(axis=(0, 2, 3))
    count = images.size // images.shape[1]
    mean, square = mean / count, square / count
    std = np.sqrt(np.maximum(square - mean**2, 0))
    encoder.set_normalisation(torch.from_numpy(mean).float(), torch.from_numpy(std).float())
