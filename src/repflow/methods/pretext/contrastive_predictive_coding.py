"""Contrastive predictive coding: predict the features of lower patches from upper ones, contrasted with negatives.

van den Oord, Li, Vinyals. Representation Learning with Contrastive Predictive Coding. arXiv 2018.
"""

import torch
import torch.nn.functional as F
from lightly.utils import dist
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.encoders.tiled import windows
from repflow.errors import ParameterError
from repflow.methods.parts.accuracy import accuracy_with_ties
from repflow.methods.parts.tiles import of_tiles, prepared
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegativeCount, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The parameters of contrastive predictive coding.

    Attributes:
        augment: augmentation policy.
        augment_patches: augmentation policy of each single patch, so that colours do not identify the image.
        grid: number of patches along each side.
        patch: side of a patch as a fraction of the image's; patches overlap if it exceeds 1 / `grid`.
        layers: of the context network, each of which adds one row to the receptive field.
        skip: rows below the context that are not predicted, as they overlap it.
        steps: number of rows predicted after that.
    """

    augment: PolicyConfig = ()
    augment_patches: PolicyConfig = ()
    grid: Count = 7
    patch: Fraction = 0.25
    layers: Count = 3
    skip: NonNegativeCount = 1
    steps: Count = 3


class Context(nn.Module):
    """Masked convolutions: the output at a row depends only on this row and those above it."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, (2, 3)) for _ in range(layers))

    def forward(self, features: Tensor) -> Tensor:
        """[B, width, rows, columns] to the same shape."""
        for convolution in self.convolutions:
            features = features + convolution(F.pad(F.relu(features), (1, 1, 1, 0)))
        return features


class ContrastivePredictiveCoding(EncoderMethod):
    """The encoder of patches, the context network, and a linear prediction for each of the following rows."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        if config.skip + config.steps >= config.grid:
            raise ParameterError(
                f"settings.steps: a grid of {config.grid} rows has no row {config.skip + config.steps} below its first;"
                f" `skip` + `steps` may be at most {config.grid - 1}"
            )
        self.config = config
        self.augment, self.augment_patches = Policy(config.augment), Policy(config.augment_patches)
        self.context = Context(encoder.width, config.layers)
        self.predictions = nn.ModuleList(nn.Linear(encoder.width, encoder.width) for _ in range(config.steps))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """InfoNCE, averaged over predicted rows."""
        images = self.augment(batch["unlabelled"].images, draw.stream("image"))  # [B, C, H, W]
        patches = patches_of(images, self.config.grid, self.config.patch)  # [G, G, B, C, s, s]
        changed = self.augment_patches(patches.flatten(0, 2), draw.stream("patches"))
        seen = prepared(self.encoder, changed, standardise=False)
        features = of_tiles(self.encoder)(seen).unflatten(0, patches.shape[:3])  # z [G, G, B, width]
        context = self.context(features.permute(2, 3, 0, 1)).permute(2, 3, 0, 1)  # c [G, G, B, width]
        found = []
        for ahead, prediction in enumerate(self.predictions, start=1 + self.config.skip):
            found.append(info_nce(prediction(context[:-ahead]), features[ahead:]))
        loss, accuracy = (torch.stack(each).mean() for each in zip(*found, strict=True))
        return Losses(loss, {"accuracy": accuracy})


def patches_of(images: Tensor, grid: int, share: float) -> Tensor:
    """Patches of images [B, C, H, W], evenly spaced from border to border: [grid, grid, B, C, side, side]."""
    return windows(images, grid, share).permute(1, 2, 0, 3, 4, 5)  # where an encoder of tiles sees them


def info_nce(predictions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """InfoNCE: identify the predicted patch among all patches of the same row, of all images.

    Args:
        predictions: [R, G, B, width].
        features: the targets, of the same shape.

    Returns:
        The cross-entropy, and the accuracy.
    """
    rows, columns, count = features.shape[:3]
    every = torch.cat(dist.gather(features), dim=2) if dist.world_size() > 1 else features  # [R, G, ranks x B, width]
    logits = predictions.flatten(1, 2) @ every.flatten(1, 2).transpose(1, 2)  # [R, G x B, G x ranks x B]
    image = torch.arange(count, device=logits.device) + dist.rank() * count
    column = torch.arange(columns, device=logits.device)[:, None]
    right = (column * every.shape[2] + image).flatten().expand(rows, -1)  # [R, G x B]
    return F.cross_entropy(logits.flatten(0, 1), right.flatten()), accuracy_with_ties(logits, right)
