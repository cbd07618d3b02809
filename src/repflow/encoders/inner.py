"""Encoders around another one, which sees something made of the images: their lightness, or their tiles, say."""

from torch import Tensor

from repflow.encoders.convolutional import LeNetConfig, SmallConfig
from repflow.encoders.encoder import Encoder
from repflow.encoders.pretrained.config import TimmConfig, TorchvisionConfig
from repflow.encoders.residual import ResNetConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.encoders.transformer import ViTConfig

InnerEncoder = SmallConfig | SmallResNetConfig | LeNetConfig | ResNetConfig | ViTConfig | TimmConfig | TorchvisionConfig
"""Those of the group `encoder` in conf/."""


class OuterEncoder(Encoder):
    """An encoder around another one.

    Args:
        inner: the other one.
        width: dimension of the features.
        channels: of the images.
    """

    def __init__(self, inner: Encoder, width: int, channels: int):
        super().__init__(inner, width, channels)

    @property
    def inner(self) -> Encoder:
        """The encoder that this one is around."""
        assert isinstance(self.body, Encoder)
        return self.body

    def set_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics of the images, [channels] each, and those that the inner encoder normalises by.

        An inner encoder with an input normalisation of its own keeps it.
        """
        super().set_normalisation(mean, std)
        if not self.inner.fixed_normalisation:
            self.inner.set_normalisation(*self.inner_statistics(mean, std))

    def inner_statistics(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of what the inner encoder sees, from those of the images: those of the images."""
        return mean, std
