"""Context prediction: predict the position of a patch relative to a neighbouring patch.

Doersch, Gupta, Efros. Unsupervised Visual Representation Learning by Context Prediction. ICCV 2015.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.tiles import TILES, cut_tiles, standardised
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters
from repflow.training.contract import EncoderMethod, Losses

CENTRE = TILES // 2


@parameters
class Config:
    """The parameters of context prediction.

    Attributes:
        augment: augmentation policy.
        patch: side of a patch as a fraction of its cell's in a 3x3 grid; the rest is gap.
        jitter: fraction of the gap used for random positions.
        side: pixels to which patches are resized.
        drop_colours: keep one channel of each patch and replace the others by faint noise, so that chromatic
            aberration does not reveal the position.
        hidden: width of the hidden layer for a pair of patches.
    """

    augment: PolicyConfig = ()
    patch: Fraction = 0.7
    jitter: Fraction = 0.34
    side: Count = 16
    drop_colours: bool = False
    hidden: Count = 256


class ContextPrediction(EncoderMethod):
    """A shared encoder for both patches, and a two-layer head on their concatenated features."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.head = nn.Sequential(
            nn.Linear(2 * encoder.width, config.hidden), nn.ReLU(inplace=True), nn.Linear(config.hidden, TILES - 1)
        )

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the relative position of each of the eight neighbours of the central patch."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        patches = self.patches(images, draw)  # [B, 9, C, side, side]
        features = self.encoder(patches.flatten(0, 1)).unflatten(0, (-1, TILES))  # [B, 9, width]
        around = torch.cat([features[:, :CENTRE], features[:, CENTRE + 1 :]], dim=1)  # [B, 8, width]
        pairs = torch.cat([features[:, CENTRE, None].expand_as(around), around], dim=2)  # [B, 8, 2 width]
        logits = self.head(pairs).flatten(0, 1)  # [8B, 8]
        places = torch.arange(TILES - 1, device=logits.device).repeat(len(images))
        return Losses(F.cross_entropy(logits, places), {"accuracy": (logits.argmax(1) == places).float().mean()})

    def patches(self, images: Tensor, draw: Draw) -> Tensor:
        """Standardised patches, scaled to the encoder's input range: [B, 9, C, side, side]."""
        config = self.config
        patches = cut_tiles(images, config.patch, config.jitter, config.side, draw.stream("patches"))
        standard = standardised(patches)
        if config.drop_colours and images.shape[1] > 1:
            standard = one_colour(standard, draw.stream("colours"))
        return standard * self.encoder.std + self.encoder.mean


def one_colour(patches: Tensor, draw: Draw) -> Tensor:
    """Keep one random channel of each patch [B, N, C, side, side]; replace the others by noise of deviation 0.01."""
    count, number, channels = patches.shape[:3]
    kept = draw.integers(count, number, 1, high=channels) == torch.arange(channels, device=draw.device)  # [B, N, C]
    noise = 0.01 * draw.normal(*patches.shape)
    return torch.where(kept[..., None, None].to(patches.device), patches, noise.to(patches))
