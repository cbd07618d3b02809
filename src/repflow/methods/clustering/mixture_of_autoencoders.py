"""Mixture of autoencoders: one autoencoder per cluster, and a network that assigns images to them.

Zhang, Sun, Eriksson, Balzano. Deep Unsupervised Clustering Using Mixture of Autoencoders. arXiv 2017.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.encoders.concatenated import ConcatenatedEncoder
from repflow.errors import ParameterError
from repflow.methods.parts.decoder import Decoder
from repflow.methods.parts.distributed import gathered
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The parameters of the mixture of autoencoders.

    Attributes:
        augment: augmentation policy.
        clusters: number of clusters and autoencoders.
        codes: dimension of each autoencoder's latent code.
        hidden: width of the hidden layer of the assignment network.
        decoder: channels of each decoder's stages, each of which doubles height and width.
        sample_entropy: weight of the entropy of each image's assignment, which is minimised.
        batch_entropy: weight of the entropy of the batch's mean assignment, which is maximised.
    """

    augment: PolicyConfig = ()
    clusters: Count = 10
    codes: Count = 10
    hidden: Count = 64
    decoder: tuple[Count, ...] = (32, 16, 8)
    sample_entropy: NonNegative = 0.002
    batch_entropy: NonNegative = 0.01


class MixtureOfAutoencoders(EncoderMethod):
    """Autoencoders, each with its own latent code and decoder, and an assignment network on all codes.

    With an encoder of as many concatenated parts as there are clusters, as in the paper, each autoencoder has a part of
    its own, and what is kept after training are all parts. Any other encoder is shared by the autoencoders.
    """

    streams = ("unlabelled",)
    columns = ("image", "reconstructed by its cluster's autoencoder")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        channels = len(encoder.mean)
        self.codes = _codes(encoder, config)
        self.decoders = nn.ModuleList(Decoder(config.codes, config.decoder, channels) for _ in range(config.clusters))
        self.assignment = nn.Sequential(
            nn.Linear(config.clusters * config.codes, config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.clusters),
        )

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Reconstruction errors weighted by the soft assignment, plus sample entropy minus batch entropy."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        codes = self.codes(self.encoder(images))  # [B, clusters x codes]
        shares = self.assignment(codes).softmax(dim=1)  # [B, clusters]
        errors = (
            (self.reconstruct(codes, images.shape[2:]) - images[:, None]).square().mean(dim=(2, 3, 4))
        )  # [B, clusters]
        error = (shares * errors).sum(dim=1).mean()
        sample, overall = entropy(shares).mean(), entropy(mean_of_all(shares))
        total = error + self.config.sample_entropy * sample - self.config.batch_entropy * overall
        return Losses(total, {"error": error, "sample_entropy": sample, "batch_entropy": overall})

    def reconstruct(self, codes: Tensor, size: tuple[int, ...]) -> Tensor:
        """Reconstructions by each autoencoder from its part of [B, clusters x codes]: [B, clusters, C, *size]."""
        pairs = zip(self.decoders, codes.chunk(self.config.clusters, dim=1), strict=True)
        return torch.stack([decoder(code, size) for decoder, code in pairs], dim=1)

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] and reconstructions by the autoencoder of each image's cluster: [B, 2, C, H, W]."""
        codes = self.codes(self.encoder(images))
        own = self.reconstruct(codes, images.shape[2:])[torch.arange(len(images)), self.assignment(codes).argmax(dim=1)]
        return torch.stack([images, own.clamp(0, 1)], dim=1)

    @torch.no_grad()
    def assign(self, images: Tensor) -> Tensor:
        """The cluster assignment of each image [B, C, H, W]: int64 [B]."""
        return cast(Tensor, self.assignment(self.codes(self.encoder(images))).argmax(dim=1))


class SeparateCodes(nn.Module):
    """A linear map of its own for each part of concatenated features [B, sum of widths]: [B, parts x codes].

    Args:
        widths: of the parts.
        codes: dimension of each part's code.
    """

    def __init__(self, widths: Sequence[int], codes: int):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, codes) for width in widths)
        self._widths = tuple(widths)

    def forward(self, features: Tensor) -> Tensor:
        """The codes, concatenated."""
        parts = features.split(self._widths, dim=1)
        return torch.cat([each(part) for each, part in zip(self.maps, parts, strict=True)], dim=1)


def _codes(encoder: Encoder, config: Config) -> nn.Module:
    """Features to the codes of all autoencoders, [B, clusters x codes]."""
    if not isinstance(encoder, ConcatenatedEncoder):
        return nn.Linear(encoder.width, config.clusters * config.codes)
    if len(encoder.parts) != config.clusters:
        raise ParameterError(
            f"encoder.parts: {len(encoder.parts)} encoders for settings.clusters: {config.clusters} autoencoders; give"
            " as many, or another encoder, which they share"
        )
    return SeparateCodes([part.width for part in encoder.parts], config.codes)


def entropy(shares: Tensor) -> Tensor:
    """Entropy in nats of each row of [..., clusters]: [...]."""
    logs = shares.clamp(min=1e-12).log()  # the gradient at 0, which rounding can give, would be infinite
    nats: Tensor = -(shares * logs).sum(dim=-1)
    return nats


def mean_of_all(shares: Tensor) -> Tensor:
    """The mean row over all processes, [clusters] of [B, clusters], with gradients for this process's rows.

    As gradients are averaged over processes, the result is the gradient of the global mean.
    """
    own = shares.mean(dim=0)
    return gathered(shares).mean(dim=0) + own - own.detach()
