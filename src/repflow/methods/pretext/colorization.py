"""Colorization: tell the colour of every place of a grey image.

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
from repflow.errors import ParameterError
from repflow.methods.parts.gamut import Gamut
from repflow.methods.parts.upsampler import Upsampler
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses

ENOUGH = 4096
"""Images whose colours are counted."""


@parameters
class Config:
    """The parameters of colorization.

    Attributes:
        augment: the policy that makes the image.
        grid: side of a bin of colours, in units of a and b.
        even: how much of an even distribution of colours the class rebalancing mixes in; at 1 there is no rebalancing.
        side: height and width of what is foretold; the colours are made smaller for it.
        decoder: channels of the stages from the encoder's maps to there.
        temperature: of the annealed mean by which pictures are decoded.
    """

    augment: PolicyConfig = ()
    grid: Positive = 10.0
    even: Fraction = 0.5
    side: Count = 8
    decoder: tuple[Count, ...] = (64,)
    temperature: Positive = 0.38


class Colorization(EncoderMethod):
    """The encoder's feature maps below a small decoder to a distribution over bins of colour at every place."""

    streams = ("unlabelled",)
    columns = ("image", "without its colours", "coloured")
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
        """Count the colours, for the class rebalancing."""
        stream = streams["unlabelled"]
        rows = torch.arange(0, len(stream), max(1, len(stream) // ENOUGH))
        counted = [self.wanted(stream.take(some).images.cpu()).sum(dim=(0, 2, 3)) for some in rows.split(128)]
        counts = torch.stack(counted).sum(dim=0)
        self.weights.copy_(self.gamut.rebalancing(counts / counts.sum(), self.config.even))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the colours, a place weighing as its colour does."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, 3, H, W]
        wanted = self.wanted(images)  # [B, Q, side, side]
        errors = F.cross_entropy(self.logits(without_colour(images)), wanted, reduction="none")  # [B, side, side]
        return Losses((self.weights[wanted.argmax(dim=1)] * errors).mean(), {"cross_entropy": errors.mean()})

    def wanted(self, images: Tensor) -> Tensor:
        """How the colour of every place of images [B, 3, H, W] is shared among the bins: [B, Q, side, side]."""
        return self.gamut.shares(F.adaptive_avg_pool2d(rgb_to_lab(images)[:, 1:], self.config.side))

    def logits(self, images: Tensor) -> Tensor:
        """What grey images [B, 3, H, W] seem to have for colours: [B, Q, side, side]."""
        logits: Tensor = self.decoder(self.encoder.maps(images), (self.config.side, self.config.side))
        return logits

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W], these without their colours, and with those foretold: [B, 3, 3, H, W]."""
        without = without_colour(images)
        colours = self.gamut.annealed_mean(self.logits(without), self.config.temperature)
        spread = F.interpolate(colours, images.shape[2:], mode="bilinear")
        return torch.stack([images, without, lab_to_rgb(torch.cat([rgb_to_lab(images)[:, :1], spread], dim=1))], dim=1)
