"""Context prediction: tell where a patch lies, seen from another.

Doersch, Gupta, Efros. Unsupervised Visual Representation Learning by Context Prediction. ICCV 2015.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.tiles import TILES, standardised, tiles_of
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters
from repflow.training.contract import EncoderMethod, Losses

CENTRE = TILES // 2


@parameters
class Config:
    """The parameters of context prediction.

    Attributes:
        augment: the policy that makes the image.
        patch: a patch's share of the side of its cell in a 3x3 grid; the rest is gap.
        jitter: share of the gap in which the patch lies anywhere.
        side: pixels of a patch as the encoder sees it.
        drop_colours: leave one channel of each patch and put faint noise into the others, or where lenses bend red
            and blue apart, that gives a patch's place away.
        hidden: width of the layer that sees two patches.
    """

    augment: PolicyConfig = ()
    patch: Fraction = 0.7
    jitter: Fraction = 0.34
    side: Count = 16
    drop_colours: bool = False
    hidden: Count = 256


class ContextPrediction(EncoderMethod):
    """One encoder for both patches, and two layers that see their features side by side."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.head = nn.Sequential(
            nn.Linear(2 * encoder.width, config.hidden), nn.ReLU(inplace=True), nn.Linear(config.hidden, TILES - 1)
        )

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the place of each of the eight neighbours of the patch in the centre."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        patches = self.patches(images, draw)  # [B, 9, C, side, side]
        features = self.encoder(patches.flatten(0, 1)).unflatten(0, (-1, TILES))  # [B, 9, width]
        around = torch.cat([features[:, :CENTRE], features[:, CENTRE + 1 :]], dim=1)  # [B, 8, width]
        pairs = torch.cat([features[:, CENTRE, None].expand_as(around), around], dim=2)  # [B, 8, 2 width]
        logits = self.head(pairs).flatten(0, 1)  # [8B, 8]
        places = torch.arange(TILES - 1, device=logits.device).repeat(len(images))
        return Losses(F.cross_entropy(logits, places), {"accuracy": (logits.argmax(1) == places).float().mean()})

    def patches(self, images: Tensor, draw: Draw) -> Tensor:
        """Patches as the encoder takes them, each of its mean and contrast: [B, 9, C, side, side]."""
        config = self.config
        patches = tiles_of(images, config.patch, config.jitter, config.side, draw.stream("patches"))
        standard = standardised(patches)
        if config.drop_colours and images.shape[1] > 1:
            standard = one_colour(standard, draw.stream("colours"))
        return standard * self.encoder.std + self.encoder.mean


def one_colour(patches: Tensor, draw: Draw) -> Tensor:
    """Keep one channel of each patch [B, N, C, side, side]; the others become noise of a hundredth of its contrast."""
    count, number, channels = patches.shape[:3]
    kept = draw.integers(count, number, 1, high=channels) == torch.arange(channels, device=draw.device)  # [B, N, C]
    noise = 0.01 * draw.normal(*patches.shape)
    return torch.where(kept[..., None, None].to(patches.device), patches, noise.to(patches))
