"""Mixture of autoencoders: each cluster has an autoencoder of its own, and a network says whose an image is.

Zhang, Sun, Eriksson, Balzano. Deep Unsupervised Clustering Using Mixture of Autoencoders. arXiv 2017.
"""

from typing import cast

import torch
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.decoder import Decoder
from repflow.methods.parts.distributed import gathered
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The parameters of the mixture of autoencoders.

    Attributes:
        augment: the policy that makes the images.
        clusters: how many, each an autoencoder.
        codes: width of each autoencoder's code.
        hidden: width of the hidden layer of the network that assigns.
        decoder: channels of each decoder's stages, each of twice the height and width of the one before.
        sample_entropy: weight of the entropy of each image's assignment, to be low.
        batch_entropy: weight of the entropy of the batch's mean assignment, to be high.
    """

    augment: PolicyConfig = ()
    clusters: Count = 10
    codes: Count = 10
    hidden: Count = 64
    decoder: tuple[Count, ...] = (32, 16, 8)
    sample_entropy: NonNegative = 0.002
    batch_entropy: NonNegative = 0.01


class MixtureOfAutoencoders(EncoderMethod):
    """One encoder, from which each autoencoder takes a linear code of its own that it decodes by itself.

    The paper's autoencoders share nothing; here they share what is kept, the encoder.
    """

    streams = ("unlabelled",)
    columns = ("image", "restored by its cluster's autoencoder")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        channels = len(encoder.mean)
        self.codes = nn.Linear(encoder.width, config.clusters * config.codes)
        self.decoders = nn.ModuleList(Decoder(config.codes, config.decoder, channels) for _ in range(config.clusters))
        self.assignment = nn.Sequential(
            nn.Linear(config.clusters * config.codes, config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.clusters),
        )

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Squared errors weighted by the assignment, which is to be sure of each image and even over the batch."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        codes = self.codes(self.encoder(images))  # [B, clusters x codes]
        shares = self.assignment(codes).softmax(dim=1)  # [B, clusters]
        errors = (self.restore(codes, images.shape[2:]) - images[:, None]).square().mean(dim=(2, 3, 4))  # [B, clusters]
        error = (shares * errors).sum(dim=1).mean()
        sample, whole = entropy(shares).mean(), entropy(mean_of_all(shares))
        total = error + self.config.sample_entropy * sample - self.config.batch_entropy * whole
        return Losses(total, {"error": error, "sample_entropy": sample, "batch_entropy": whole})

    def restore(self, codes: Tensor, size: tuple[int, ...]) -> Tensor:
        """What each autoencoder makes of its own of the codes [B, clusters x codes]: [B, clusters, C, *size]."""
        pairs = zip(self.decoders, codes.chunk(self.config.clusters, dim=1), strict=True)
        return torch.stack([decoder(code, size) for decoder, code in pairs], dim=1)

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], and what the autoencoder of each one's cluster makes of it: [B, 2, C, H, W]."""
        codes = self.codes(self.encoder(images))
        own = self.restore(codes, images.shape[2:])[torch.arange(len(images)), self.assignment(codes).argmax(dim=1)]
        return torch.stack([images, own.clamp(0, 1)], dim=1)

    @torch.no_grad()
    def assign(self, images: Tensor) -> Tensor:
        """The cluster of each image [B, C, H, W]: int64 [B]."""
        return cast(Tensor, self.assignment(self.codes(self.encoder(images))).argmax(dim=1))


def entropy(shares: Tensor) -> Tensor:
    """Entropy in nats of each row of [..., clusters]: [...]."""
    logs = shares.clamp(min=1e-12).log()  # the slope at a share of 0, which rounding makes, would be infinite
    nats: Tensor = -(shares * logs).sum(dim=-1)
    return nats


def mean_of_all(shares: Tensor) -> Tensor:
    """The mean row over all processes, [clusters] of [B, clusters], with the gradients of this one's rows.

    Processes average their gradients, so what each gives is that of the common mean.
    """
    own = shares.mean(dim=0)
    return gathered(shares).mean(dim=0) + own - own.detach()
