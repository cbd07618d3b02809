"""Split-brain autoencoder: each half of the encoder foretells what only the other half sees.

Zhang, Isola, Efros. Split-Brain Autoencoders: Unsupervised Learning by Cross-Channel Prediction. CVPR 2017.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.encoders.split import SplitEncoder, join_lab, split_lab
from repflow.errors import ParameterError
from repflow.randomness.draws import Draw
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The parameters of the split-brain autoencoder.

    Attributes:
        augment: the policy that makes the image.
        cells: along each side of a place of the feature maps; the mean of a cell is foretold.
        lightness_bins: from black to white.
        colour_bins: along each of the two axes of colour; their product is the number of classes.
    """

    augment: PolicyConfig = ()
    cells: Count = 2
    lightness_bins: Count = 20
    colour_bins: Count = 12


class SplitBrain(EncoderMethod):
    """Two half-encoders, each with a linear layer at every place of its maps for the bins of the other's channels."""

    streams = ("unlabelled",)
    columns = ("image", "its lightness, with the colours foretold from it", "its colours, with the lightness foretold")
    encoder: SplitEncoder

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        if not isinstance(encoder, SplitEncoder):
            raise ParameterError("encoder: split_brain needs one of two halves, as in conf/pretrain/split_brain.yaml")
        self.config = config
        self.augment = Policy(config.augment)
        half, cells = encoder.width // 2, config.cells**2
        self.to_colour = nn.Conv2d(half, config.colour_bins**2 * cells, 1)
        self.to_lightness = nn.Conv2d(half, config.lightness_bins * cells, 1)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the colour foretold from the lightness, and of the lightness foretold from the colour."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, 3, H, W]
        lightness, colour = split_lab(images)  # [B, 1, H, W] and [B, 2, H, W]
        of_lightness, of_colour = self.encoder.halves((lightness, colour))  # [B, width / 2, h, w] each
        colour_loss = self.foretold(self.to_colour(of_lightness), colour, self.config.colour_bins)
        lightness_loss = self.foretold(self.to_lightness(of_colour), lightness, self.config.lightness_bins)
        return Losses(colour_loss + lightness_loss, {"colour": colour_loss, "lightness": lightness_loss})

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W], and what each half makes of its own channels and those that it foretells from them:
        [B, 3, 3, H, W]."""
        lightness, colour = split_lab(images)
        of_lightness, of_colour = self.encoder.halves((lightness, colour))
        to_colour = self.mean(self.to_colour(of_lightness), self.config.colour_bins, axes=2)
        to_lightness = self.mean(self.to_lightness(of_colour), self.config.lightness_bins, axes=1)
        large = [F.interpolate(each, images.shape[2:], mode="bilinear") for each in (to_colour, to_lightness)]
        return torch.stack([images, join_lab(lightness, large[0]), join_lab(large[1], colour)], dim=1)

    def mean(self, outputs: Tensor, bins: int, axes: int) -> Tensor:
        """What each cell is foretold to be on average, [B, axes, cells x h, cells x w], by outputs as of `foretold`."""
        steps = (torch.arange(bins, device=outputs.device) + 0.5) * 2 / bins - 1
        centres = torch.cartesian_prod(*[steps] * axes).view(-1, axes)  # of the classes
        return torch.einsum("bqhw,qc->bchw", F.pixel_shuffle(outputs, self.config.cells).softmax(dim=1), centres)

    def foretold(self, outputs: Tensor, wanted: Tensor, bins: int) -> Tensor:
        """Cross-entropy over the bins of each cell's mean.

        Args:
            outputs: [B, classes x cells x cells, h, w].
            wanted: within about [-1, 1], [B, 1 or 2, H, W].
            bins: along each axis of what is wanted.
        """
        logits = F.pixel_shuffle(outputs, self.config.cells)  # [B, classes, cells x h, cells x w]
        return F.cross_entropy(logits, binned(F.adaptive_avg_pool2d(wanted, (logits.shape[2], logits.shape[3])), bins))


def binned(values: Tensor, bins: int) -> Tensor:
    """The class of values [B, 1 or 2, h, w] within [-1, 1], by `bins` equal steps along each axis: int64 [B, h, w]."""
    steps = ((values + 1) / 2 * bins).long().clamp(0, bins - 1)
    classes = steps[:, 0]
    for axis in steps.unbind(1)[1:]:
        classes = classes * bins + axis
    return classes
