"""The outputs of every layer of an encoder, pooled to features.

Zhang, Isola, Efros (Colorful Image Colorization, ECCV 2016) and Gidaris, Singh, Komodakis (Unsupervised Representation
Learning by Predicting Image Rotations, ICLR 2018) read each layer, pooled to maps of a few positions: the last layer of
many pretext tasks belongs to the task.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.encoders.encoder import Encoder
from repflow.encoders.layers import Layer, layers
from repflow.encoders.tiled import TiledEncoder, windows
from repflow.errors import ParameterError


class LayerFeatures(Encoder):
    """An encoder whose features are those of one layer of another one.

    Args:
        encoder: whose layer is read.
        layer: number of the layer, the first one is 0; -1 for the last.
        grid: positions along each side that the layer's maps are averaged to.
        width: dimension of the features, from `widths`.
    """

    def __init__(self, encoder: Encoder, layer: int, grid: int, width: int):
        super().__init__(encoder, width, len(encoder.mean))
        self._layer, self._grid = layer, grid

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, width] of images [B, channels, size, size] in [0, 1]."""
        encoder = self.body
        assert isinstance(encoder, Encoder)
        return pooled(outputs(encoder, images)[self._layer], self._grid)


def pooled(output: Tensor, grid: int) -> Tensor:
    """Features [B, C x grid x grid] of a layer's output [B, C, h, w]; fewer where h or w is below `grid`."""
    shape = min(grid, output.shape[2]), min(grid, output.shape[3])
    return F.adaptive_avg_pool2d(output, shape).flatten(1)


def widths(encoder: Encoder, size: int, grid: int) -> list[int]:
    """The dimension of the features of each layer, pooled to `grid` positions a side, for images of `size` pixels.

    Raises:
        ParameterError: the encoder is no sequence of layers.
    """
    blank = torch.zeros(1, len(encoder.mean), size, size, device=encoder.mean.device)
    was_training = encoder.training
    with torch.inference_mode():
        found = [pooled(each, grid).shape[1] for each in outputs(encoder.eval(), blank)]
    encoder.train(was_training)
    return found


def outputs(encoder: Encoder, images: Tensor) -> list[Tensor]:
    """The output [B, C, h, w] of every layer for images [B, channels, size, size] in [0, 1].

    Those of a vision transformer have a position for every patch, without the class token; those of an encoder of tiles
    a position for every tile, and the mean over it, unless there is one tile alone.

    Raises:
        ParameterError: the encoder is no sequence of layers.
    """
    if isinstance(encoder, TiledEncoder):
        tiles = windows(images, encoder.config.grid, encoder.config.window)  # [B, grid, grid, C, side, side]
        with _recorded(encoder.inner) as kept:
            encoder.see(tiles.flatten(0, 2))
        if encoder.config.grid == 1:  # a single tile is the image
            return _joined(kept)
        return [pooled(each, 1).unflatten(0, tiles.shape[:3]).permute(0, 3, 1, 2) for each in _joined(kept)]
    with _recorded(encoder) as kept:
        encoder(images)
    return _joined(kept)


@contextlib.contextmanager
def _recorded(encoder: Encoder) -> Iterator[list[list[Tensor]]]:
    """The outputs of all layers of the forward passes within: a list for each layer, with a tensor for each half."""
    found = layers(encoder)
    if not found:
        raise ParameterError("encoder: its layers cannot be read; it is no sequence of layers")
    kept: list[list[Tensor]] = [[] for _ in found]
    with contextlib.ExitStack() as hooks:
        for outputs, layer in zip(kept, found, strict=True):
            for module in _last(layer):
                hook = module.register_forward_hook(lambda _, __, output, into=outputs: into.append(output))
                hooks.callback(hook.remove)
        yield kept


def _last(layer: Layer) -> list[nn.Module]:
    return [half[-1] for half in layer.modules]


def _joined(kept: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """One output [B, C, h, w] for each layer: halves side by side, tokens on a grid, features as one position."""
    return [torch.cat([_on_a_grid(each) for each in halves], dim=1) for halves in kept]


def _on_a_grid(output: Tensor) -> Tensor:
    if output.ndim == 2:
        return output[:, :, None, None]
    if output.ndim == 3:  # tokens [B, 1 + N, width], the class token first
        side = math.isqrt(output.shape[1] - 1)
        grid: Tensor = output[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        return grid
    return output
