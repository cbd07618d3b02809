"""Masked autoencoder: give back the patches that were taken away, from the few that were left.

He, Chen, Xie, Li, Dollár, Girshick. Masked Autoencoders Are Scalable Vision Learners. CVPR 2022.
"""

import torch
from torch import Tensor, nn

from repflow.augment import Policy, PolicyConfig
from repflow.data.batches import Batches
from repflow.draw import Draw
from repflow.encoders import Encoder
from repflow.encoders.transformer import Tokens
from repflow.errors import ParameterError
from repflow.method import EncoderMethod, Losses
from repflow.schema import Count, Fraction, parameters


@parameters
class Config:
    """The masked autoencoder's parameters.

    Attributes:
        augment: the policy that makes the image.
        removed: share of the patches that the encoder does not see.
        width: of the decoder's tokens.
        layers: of the decoder.
        heads: of its attention.
        normalise: let the targets be patches of mean 0 and variance 1, each by its own statistics.
    """

    augment: PolicyConfig = ()
    removed: Fraction = 0.75
    width: Count = 96
    layers: Count = 2
    heads: Count = 3
    normalise: bool = True


class MaskedAutoencoder(EncoderMethod):
    """A vision transformer that sees some of the patches, and a light decoder that gets its tokens and blanks."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        if not isinstance(encoder.body, Tokens):
            raise ParameterError("encoder: masked_autoencoder needs one of patches, as in `encoder: {name: vit_tiny}`")
        self.config = config
        self.augment = Policy(config.augment)
        channels, patches = len(encoder.mean), encoder.body.patches
        self.enter = nn.Linear(encoder.width, config.width)
        self.blank = nn.Parameter(0.02 * torch.randn(1, 1, config.width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + patches, config.width))
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, 4 * config.width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(config.width)
        self.decoder = nn.TransformerEncoder(layer, config.layers, norm, enable_nested_tensor=False)
        self.leave = nn.Linear(config.width, channels * encoder.body.patch**2)

    @property
    def tokens(self) -> Tokens:
        """The encoder's body."""
        assert isinstance(self.encoder.body, Tokens)
        return self.encoder.body

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Mean squared error of the patches that were taken away."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        tokens = self.tokens.embed(self.encoder.normalise(images))  # [B, N, width]
        count = tokens.shape[1]
        order = draw.stream("mask").uniform(len(images), count).argsort(dim=1)  # [B, N], the first ones stay
        kept, removed = order.tensor_split([count - round(self.config.removed * count)], dim=1)
        seen = self.tokens.attend(_picked(tokens, kept))  # [B, 1 + kept, width]
        wanted = patches_of(images, self.tokens.patch)  # [B, N, pixels]
        if self.config.normalise:
            wanted = (wanted - wanted.mean(2, keepdim=True)) / (wanted.var(2, keepdim=True) + 1e-6).sqrt()
        errors = (_picked(self.restore(seen, order), removed) - _picked(wanted, removed)).square()
        return Losses(errors.mean())

    def restore(self, seen: Tensor, order: Tensor) -> Tensor:
        """All patches of the image, in their places.

        Args:
            seen: the encoder's tokens, the class's first: [B, 1 + kept, width].
            order: of all patches, the kept ones first: int64 [B, N].

        Returns:
            [B, N, pixels of a patch].
        """
        entered = self.enter(seen)
        blanks = self.blank.to(entered).expand(len(seen), order.shape[1] - seen.shape[1] + 1, -1)
        shuffled = torch.cat([entered[:, 1:], blanks], dim=1)
        tokens = torch.cat([entered[:, :1], _picked(shuffled, order.argsort(dim=1))], dim=1)
        restored: Tensor = self.leave(self.decoder(tokens + self.positions)[:, 1:])
        return restored


def patches_of(images: Tensor, side: int) -> Tensor:
    """Images [B, C, H, W] as patches of side x side pixels, row by row: [B, N, C x side x side]."""
    parts = images.unfold(2, side, side).unfold(3, side, side)  # [B, C, rows, columns, side, side]
    return parts.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def _picked(rows: Tensor, places: Tensor) -> Tensor:
    """Of [B, N, D] those at `places` [B, n]: [B, n, D]."""
    return rows.gather(1, places[..., None].expand(-1, -1, rows.shape[2]))
