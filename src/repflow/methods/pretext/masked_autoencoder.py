"""Masked autoencoder: reconstruct masked patches from the visible ones.

He, Chen, Xie, Li, Dollár, Girshick. Masked Autoencoders Are Scalable Vision Learners. CVPR 2022.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.encoders.transformer import Tokens, sine_cosine_positions, xavier
from repflow.errors import ParameterError
from repflow.hardware.portable_math import square_root
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The masked autoencoder's parameters.

    Attributes:
        augment: augmentation policy.
        removed: fraction of patches that are masked.
        width: dimension of the decoder's tokens, a multiple of 4.
        layers: number of decoder layers.
        heads: number of attention heads of the decoder; they divide `width`.
        normalise: predict patches standardised by their own mean and variance.
    """

    augment: PolicyConfig = ()
    removed: Fraction = 0.75
    width: Count = 96
    layers: Count = 2
    heads: Count = 3
    normalise: bool = True


class MaskedAutoencoder(EncoderMethod):
    """A vision transformer encodes the visible patches; a light decoder gets their tokens and mask tokens."""

    streams = ("unlabelled",)
    columns = ("image", "visible patches", "reconstruction")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        if not isinstance(encoder.body, Tokens):
            raise ParameterError(
                "encoder: masked_autoencoder needs a vision transformer, as in `encoder: {name: vit_tiny}`"
            )
        if config.width % 4 or config.width % config.heads:
            raise ParameterError(
                f"settings.width: {config.width} is not a multiple of both 4 and settings.heads, {config.heads}"
            )
        from torchvision.models.vision_transformer import EncoderBlock

        self.config = config
        self.augment = Policy(config.augment)
        body, width = encoder.body, config.width
        self.decoder_input = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions: Tensor
        self.register_buffer("positions", sine_cosine_positions(math.isqrt(body.patches), width))
        blocks = [EncoderBlock(config.heads, width, 4 * width, 0.0, 0.0) for _ in range(config.layers)]
        self.decoder = nn.Sequential(*blocks, nn.LayerNorm(width, eps=1e-6))
        self.decoder_output = nn.Linear(width, len(encoder.mean) * body.patch**2)
        for module in (self.decoder_input, self.decoder, self.decoder_output):
            xavier(module)

    @property
    def tokens(self) -> Tokens:
        """The encoder's body."""
        assert isinstance(self.encoder.body, Tokens)
        return self.encoder.body

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Mean squared error of the masked patches, whose pixels are normalised as the encoder's input is."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))
        normal = self.encoder.normalise(images)  # [B, C, H, W]
        restored, removed = self.predict(normal, draw.stream("mask"))  # [B, N, pixels] and [B, removed]
        wanted = patches_of(normal, self.tokens.patch)  # [B, N, pixels]
        mean, deviation = self.scale(wanted)
        errors = (_picked(restored, removed) - _picked((wanted - mean) / deviation, removed)).square()
        return Losses(errors.mean())

    def predict(self, normal: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Predict patches from the visible ones.

        Args:
            normal: normalised images [B, C, H, W].
            draw: which patches are masked.

        Returns:
            Predictions of all patches [B, N, pixels], and indices of the masked ones: int64 [B, removed].
        """
        tokens = self.tokens.embed(normal)  # [B, N, width]
        count = tokens.shape[1]
        order = draw.uniform(len(normal), count).argsort(dim=1)  # [B, N], the first ones are visible
        kept, removed = order.tensor_split([count - round(self.config.removed * count)], dim=1)
        visible = self.tokens.attend(_picked(tokens, kept))  # [B, 1 + kept, width]
        return self.decode(visible, order), removed

    def scale(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, N, 1] of patches [B, N, pixels], or 0 and 1 without `normalise`."""
        if not self.config.normalise:
            return torch.zeros_like(patches[..., :1]), torch.ones_like(patches[..., :1])
        return patches.mean(2, keepdim=True), square_root(patches.var(2, keepdim=True) + 1e-6)

    def decode(self, visible: Tensor, order: Tensor) -> Tensor:
        """Decode predictions of all patches, in their original order.

        Args:
            visible: the encoder's tokens, the class token first: [B, 1 + kept, width].
            order: indices of all patches, visible ones first: int64 [B, N].

        Returns:
            [B, N, pixels of a patch].
        """
        entered = self.decoder_input(visible)
        mask_tokens = self.mask_token.to(entered).expand(len(visible), order.shape[1] - visible.shape[1] + 1, -1)
        shuffled = torch.cat([entered[:, 1:], mask_tokens], dim=1)
        tokens = torch.cat([entered[:, :1], _picked(shuffled, order.argsort(dim=1))], dim=1)
        restored: Tensor = self.decoder_output(self.decoder(tokens + self.positions)[:, 1:])
        return restored

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], their visible patches, and reconstructions: [B, 3, C, H, W].

        With `normalise`, predictions are scaled with the true mean and deviation of each patch.
        """
        side, size = self.tokens.patch, images.shape[2:]
        normal = self.encoder.normalise(images)
        restored, removed = self.predict(normal, Draw(0, "pictures", device=images.device))
        mean, deviation = self.scale(patches_of(normal, side))
        painted = image_of(mean + deviation * restored, size) * self.encoder.std + self.encoder.mean
        patches, predicted = patches_of(images, side), patches_of(painted.clamp(0, 1), side)
        places = removed[..., None].expand(-1, -1, patches.shape[2])
        visible, completed = patches.scatter(1, places, 0.5), patches.scatter(1, places, _picked(predicted, removed))
        return torch.stack([images, *(image_of(each, size) for each in (visible, completed))], dim=1)


def patches_of(images: Tensor, side: int) -> Tensor:
    """Images [B, C, H, W] as patches of side x side pixels, row by row: [B, N, C x side x side]."""
    parts = images.unfold(2, side, side).unfold(3, side, side)  # [B, C, rows, columns, side, side]
    return parts.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def image_of(patches: Tensor, size: tuple[int, ...]) -> Tensor:
    """Images [B, C, *size] from patches [B, N, C x side x side]; the inverse of `patches_of`."""
    side = math.isqrt(size[0] * size[1] // patches.shape[1])
    return F.fold(patches.transpose(1, 2), (size[0], size[1]), side, stride=side)


def _picked(rows: Tensor, places: Tensor) -> Tensor:
    """Gather rows of [B, N, D] at the indices `places` [B, n]: [B, n, D]."""
    return rows.gather(1, places[..., None].expand(-1, -1, rows.shape[2]))
