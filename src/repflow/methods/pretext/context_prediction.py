"""Context prediction: predict the position of a patch relative to a neighbouring patch.

Doersch, Gupta, Efros. Unsupervised Visual Representation Learning by Context Prediction. ICCV 2015.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.tiles import TILES, cut_tiles, of_tiles, prepared
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters
from repflow.training.contract import EncoderMethod, Losses

CENTRE = TILES // 2


@parameters
class Config:
    """The parameters of context prediction.

    Attributes:
        augment: augmentation policy.
        augment_patches: augmentation policy of each single patch, so that the sharpness of edges is no shortcut.
        patch: side of a patch as a fraction of its cell's in a 3x3 grid; the rest is gap.
        jitter: fraction of the gap used for random positions.
        side: pixels to which patches are resized.
        colours: what is done so that chromatic aberration does not reveal a patch's position in its image: "kept",
            nothing; "dropped", one channel of each patch is kept and the others are faint noise; "projected", the
            component from green to magenta is removed, as it is there that channels lie apart.
        hidden: width of the hidden layer for a pair of patches.
    """

    augment: PolicyConfig = ()
    augment_patches: PolicyConfig = ()
    patch: Fraction = 0.7
    jitter: Fraction = 0.34
    side: Count = 16
    colours: Literal["kept", "dropped", "projected"] = "kept"
    hidden: Count = 256


class ContextPrediction(EncoderMethod):
    """A shared encoder for both patches, and a two-layer head on their concatenated features."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment, self.augment_patches = Policy(config.augment), Policy(config.augment_patches)
        self.head = nn.Sequential(
            nn.Linear(2 * encoder.width, config.hidden), nn.ReLU(inplace=True), nn.Linear(config.hidden, TILES - 1)
        )

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the relative position of each of the eight neighbours of the central patch."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        patches = self.patches(images, draw)  # [B, 9, C, side, side]
        features = of_tiles(self.encoder)(patches.flatten(0, 1)).unflatten(0, (-1, TILES))  # [B, 9, width]
        around = torch.cat([features[:, :CENTRE], features[:, CENTRE + 1 :]], dim=1)  # [B, 8, width]
        pairs = torch.cat([features[:, CENTRE, None].expand_as(around), around], dim=2)  # [B, 8, 2 width]
        logits = self.head(pairs).flatten(0, 1)  # [8B, 8]
        places = torch.arange(TILES - 1, device=logits.device).repeat(len(images))
        return Losses(F.cross_entropy(logits, places), {"accuracy": (logits.argmax(1) == places).float().mean()})

    def patches(self, images: Tensor, draw: Draw) -> Tensor:
        """Standardised patches, scaled to the encoder's input range: [B, 9, C, side, side]."""
        config, colours = self.config, self.config.colours if images.shape[1] > 1 else "kept"
        patches = cut_tiles(images, config.patch, config.jitter, config.side, draw.stream("patches"))
        # All images' first patches, then their second ones: `Draw` gives each the numbers of its image in any process.
        changed = self.augment_patches(patches.transpose(0, 1).flatten(0, 1), draw.stream("changes"))
        changed = changed.unflatten(0, (TILES, -1)).transpose(0, 1).flatten(0, 1)  # [9B, C, side, side]
        changed = without_green_to_magenta(changed) if colours == "projected" else changed
        seen = prepared(self.encoder, changed, standardise=True).unflatten(0, (-1, TILES))
        return one_colour(seen, of_tiles(self.encoder), draw.stream("colours")) if colours == "dropped" else seen


def without_green_to_magenta(images: Tensor) -> Tensor:
    """Images [B, 3, H, W] less their component along (-1, 2, -1), the axis from magenta to green: [B, 3, H, W]."""
    red, green, blue = images.unbind(1)
    away = (2 * green - red - blue) / 6
    return torch.stack([red + away, green - 2 * away, blue + away], dim=1)


def one_colour(patches: Tensor, encoder: Encoder, draw: Draw) -> Tensor:
    """Keep one random channel of each patch, and replace the others by noise of a hundredth of its deviation.

    Args:
        patches: standardised, in the input range of `encoder`: [B, N, C, side, side].
        encoder: gives a channel its mean and deviation.
        draw: random numbers.
    """
    count, number, channels = patches.shape[:3]
    kept = draw.integers(count, number, 1, high=channels) == torch.arange(channels, device=draw.device)  # [B, N, C]
    noise = 0.01 * draw.normal(*patches.shape).to(patches) * encoder.std + encoder.mean
    return torch.where(kept[..., None, None].to(patches.device), patches, noise)
