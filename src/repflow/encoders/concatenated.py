"""An encoder whose features are those of several encoders, concatenated."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repflow.encoders.encoder import Encoder
from repflow.errors import ParameterError


class ConcatenatedEncoder(Encoder):
    """Images to the features of all parts, [B, sum of the widths].

    Args:
        parts: encoders of the same images; each normalises its input itself.
        channels: of the images.
    """

    def __init__(self, parts: Sequence[Encoder], channels: int):
        super().__init__(nn.ModuleList(parts), sum(part.width for part in parts), channels)

    @property
    def parts(self) -> list[Encoder]:
        """The encoders."""
        assert isinstance(self.body, nn.ModuleList)
        return [part for part in self.body if isinstance(part, Encoder)]

    def set_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics of the input normalisation of every part; both [channels], of images in [0, 1]."""
        super().set_normalisation(mean, std)
        for part in self.parts:
            part.set_normalisation(mean, std)

    def maps(self, images: Tensor) -> Tensor:
        """This encoder has no feature maps.

        Raises:
            ParameterError: always.
        """
        raise ParameterError("encoder: concatenated features have no feature maps, which this method needs")

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, width] of images [B, channels, size, size] in [0, 1]."""
        return torch.cat([part(images) for part in self.parts], dim=1)
