"""Split-brain autoencoder: two half-encoders predict colour from lightness and lightness from colour.

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
        augment: augmentation policy.
        cells: prediction cells along each side of a feature map position; the mean of each cell is predicted.
        lightness_bins: number of lightness classes.
        colour_bins: bins along each of the two colour axes; there are colour_bins² colour classes.
    """

    augment: PolicyConfig = ()
    cells: Count = 2
    lightness_bins: Count = 20
    colour_bins: Count = 12


class SplitBrain(EncoderMethod):
    """Two half-encoders, each with a 1x1 convolution to logits of the other half's channels."""

    streams = ("unlabelled",)
    columns = ("image", "colours predicted from lightness", "lightness predicted from colours")
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
        """Cross-entropy of colour predicted from lightness, plus that of lightness predicted from colour."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, 3, H, W]
        lightness, colour = split_lab(images)  # [B, 1, H, W] and [B, 2, H, W]
        of_lightness, of_colour = self.encoder.halves((lightness, colour))  # [B, width / 2, h, w] each
        colour_loss = self.cell_cross_entropy(self.to_colour(of_lightness), colour, self.config.colour_bins)
        lightness_loss = self.cell_cross_entropy(self.to_lightness(of_colour), lightness, self.config.lightness_bins)
        return Losses(colour_loss + lightness_loss, {"colour": colour_loss, "lightness": lightness_loss})

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W], with predicted colours, and with predicted lightness: [B, 3, 3, H, W]."""
        lightness, colour = split_lab(images)
        of_lightness, of_colour = self.encoder.halves((lightness, colour))
        to_colour = self.mean(self.to_colour(of_lightness), self.config.colour_bins, axes=2)
        to_lightness = self.mean(self.to_lightness(of_colour), self.config.lightness_bins, axes=1)
        large = [F.interpolate(each, images.shape[2:], mode="bilinear") for each in (to_colour, to_lightness)]
        return torch.stack([images, join_lab(lightness, large[0]), join_lab(large[1], colour)], dim=1)

    def mean(self, outputs: Tensor, bins: int, axes: int) -> Tensor:
        """Expected values [B, axes, cells x h, cells x w] of outputs as in `cell_cross_entropy`."""
        steps = (torch.arange(bins, device=outputs.device) + 0.5) * 2 / bins - 1
        centres = torch.cartesian_prod(*[steps] * axes).view(-1, axes)  # of the classes
        return torch.einsum("bqhw,qc->bchw", F.pixel_shuffle(outputs, self.config.cells).softmax(dim=1), centres)

    def cell_cross_entropy(self, outputs: Tensor, target: Tensor, bins: int) -> Tensor:
        """Cross-entropy of the class of each cell's mean value.

        Args:
            outputs: [B, classes x cells x cells, h, w].
            target: within about [-1, 1], [B, 1 or 2, H, W].
            bins: along each axis of the target.
        """
        logits = F.pixel_shuffle(outputs, self.config.cells)  # [B, classes, cells x h, cells x w]
        return F.cross_entropy(logits, binned(F.adaptive_avg_pool2d(target, (logits.shape[2], logits.shape[3])), bins))


def binned(values: Tensor, bins: int) -> Tensor:
    """Quantise values [B, 1 or 2, h, w] in [-1, 1] to `bins` equal bins along each axis: classes, int64 [B, h, w]."""
    steps = ((values + 1) / 2 * bins).long().clamp(0, bins - 1)
    classes = steps[:, 0]
    for axis in steps.unbind(1)[1:]:
        classes = classes * bins + axis
    return classes
