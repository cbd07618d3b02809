"""An encoder whose features are the outputs of all its layers, max-pooled and concatenated.

So Radford, Metz and Chintala (Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks, ICLR 2016) read a discriminator, whose last layer knows real images from generated ones.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from repflow.encoders.encoder import Encoder, Pooled
from repflow.encoders.inner import InnerEncoder, OuterEncoder
from repflow.encoders.layers import layers
from repflow.errors import ParameterError
from repflow.schema import Count, parameters


@parameters
class MultiLayerConfig:
    """An encoder that is read at all layers.

    Attributes:
        inner: the encoder: small, small_resnet, resnet18 or resnet50.
        grid: positions along each side that the maps of a layer are max-pooled to; fewer where it has fewer.
    """

    inner: Annotated[InnerEncoder, Field(discriminator="name")]
    grid: Count = 4
    name: Literal["multi_layer"] = "multi_layer"


class MultiLayerEncoder(OuterEncoder):
    """The maps of all layers, max-pooled to a grid, side by side.

    Args:
        inner: the encoder; its own features are those of its last layer.
        grid: positions along each side.
        channels: of the images.
        size: their height and width in pixels.

    Raises:
        ParameterError: the encoder is no sequence of convolutional layers.
    """

    def __init__(self, inner: Encoder, grid: int, channels: int, size: int):
        if not (isinstance(inner.body, Pooled) and isinstance(inner.body.maps, nn.Sequential)):
            raise ParameterError(
                "encoder.inner: multi_layer reads the layers of small, small_resnet, resnet18 and resnet50 alone"
            )
        super().__init__(inner, 0, channels)
        self.grid = grid
        was_training = inner.training
        with torch.no_grad():
            self.width = self.eval()(torch.zeros(1, channels, size, size)).shape[1]
        self.train(was_training)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps of the last layer [B, inner width, h, w] of images [B, channels, size, size] in [0, 1]."""
        return self.inner.maps(images)

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, width] of images [B, channels, size, size] in [0, 1]."""
        maps, found = self.inner.normalise(images), []
        for layer in layers(self.inner):
            for module in layer.modules[0]:
                maps = module(maps)
            found.append(_max_pooled(maps, self.grid).flatten(1))
        return torch.cat(found, dim=1)


def _max_pooled(maps: Tensor, grid: int) -> Tensor:
    """Maps [B, C, h, w] max-pooled to [B, C, grid, grid].

    As by `adaptive_max_pool2d`, which is not in ONNX, and whose gradient on a GPU is not deterministic.
    """
    for dim in (2, 3):
        size = maps.shape[dim]
        cells = min(grid, size)
        bounds = [(cell * size // cells, -(-(cell + 1) * size // cells)) for cell in range(cells)]
        maps = torch.stack([maps.narrow(dim, low, high - low).amax(dim) for low, high in bounds], dim)
    return maps
