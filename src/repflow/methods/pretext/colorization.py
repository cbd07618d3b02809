"""Colorization: predict a distribution over quantised colours at every position of a grey image.

Zhang, Isola, Efros. Colorful Image Colorization. ECCV 2016.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.color_spaces import lab_to_rgb, rgb_to_lab, without_colour
from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.encoders.lightness import without_colour_for
from repflow.errors import ParameterError
from repflow.methods.parts.gamut import Gamut
from repflow.methods.parts.upsampler import Upsampler
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses

ENOUGH = 4096
"""Number of images used to estimate the colour distribution."""


@parameters
class Config:
    """The parameters of colorization.

    Attributes:
        augment: augmentation policy.
        grid: side of a colour bin, in units of a and b.
        even: weight of the uniform distribution in the class rebalancing; with 1 there is no rebalancing.
        side: height and width of the prediction, to which the target colours are downsampled.
        decoder: channels of the decoder's stages.
        temperature: of the annealed mean that decodes colours for figures.
    """

    augment: PolicyConfig = ()
    grid: Positive = 10.0
    even: Fraction = 0.5
    side: Count = 8
    decoder: tuple[Count, ...] = (64,)
    temperature: Positive = 0.38


class Colorization(EncoderMethod):
    """The encoder's feature maps with a small decoder to logits of colour bins at every position."""

    streams = ("unlabelled",)
    columns = ("image", "grey input", "predicted colours")
    weights: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        if len(encoder.mean) != 3:
            raise ParameterError("pretrain.name: colorization takes images with colours; set data.channels to 3")
        self.config = config
        self.augment = Policy(config.augment)
        self.gamut = Gamut(config.grid)
        self.decoder = Upsampler(encoder.width, config.decoder, channels=len(self.gamut))
        self.register_buffer("weights", torch.ones(len(self.gamut)))

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Estimate the colour distribution for class rebalancing."""
        stream = streams["unlabelled"]
        rows = torch.arange(0, len(stream), max(1, len(stream) // ENOUGH))
        counted = [
            self.target_distribution(stream.take(some).images.cpu()).sum(dim=(0, 2, 3)) for some in rows.split(128)
        ]
        counts = torch.stack(counted).sum(dim=0)
        self.weights.copy_(self.gamut.rebalancing(counts / counts.sum(), self.config.even))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the colours, rebalanced by colour class."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, 3, H, W]
        wanted = self.target_distribution(images)  # [B, Q, side, side]
        errors = F.cross_entropy(self.logits(images), wanted, reduction="none")  # [B, side, side]
        return Losses((self.weights[wanted.argmax(dim=1)] * errors).mean(), {"cross_entropy": errors.mean()})

    def target_distribution(self, images: Tensor) -> Tensor:
        """Soft-encoded colours of images [B, 3, H, W]: [B, Q, side, side]."""
        return self.gamut.shares(F.adaptive_avg_pool2d(rgb_to_lab(images)[:, 1:], self.config.side))

    def logits(self, images: Tensor) -> Tensor:
        """Colour logits by the lightness alone of images [B, 3, H, W]: [B, Q, side, side]."""
        maps = self.encoder.maps(without_colour_for(self.encoder, images))
        logits: Tensor = self.decoder(maps, (self.config.side, self.config.side))
        return logits

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W], grey inputs, and images with predicted colours: [B, 3, 3, H, W]."""
        colours = self.gamut.annealed_mean(self.logits(images), self.config.temperature)
        spread = F.interpolate(colours, images.shape[2:], mode="bilinear")
        coloured = lab_to_rgb(torch.cat([rgb_to_lab(images)[:, :1], spread], dim=1))
        return torch.stack([images, without_colour(images), coloured], dim=1)
