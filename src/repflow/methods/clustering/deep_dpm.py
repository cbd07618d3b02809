"""DeepDPM: clusters and how many there are, by networks that split and merge as a Dirichlet process mixture's would.

Ronen, Finder, Freifeld. DeepDPM: Deep Clustering With an Unknown Number of Clusters. CVPR 2022.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.errors import ParameterError
from repflow.methods.parts.decoder import Decoder
from repflow.methods.parts.mixtures.gaussians import Prior
from repflow.methods.parts.mixtures.network import MixtureNetwork
from repflow.methods.parts.passes import encode_all
from repflow.randomness.draws import Draw, seeded
from repflow.schema import Count, Fraction, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses

SETTLING = 0.9
"""Progress of training after which no cluster is split or merged any more."""


@parameters
class Config:
    """DeepDPM's parameters.

    Attributes:
        augment: the policy that makes the clean image of the embedding.
        embedding: share of training in which the encoder learns, as a denoising autoencoder; 0 takes it as it is.
        lost: share of an image's pixels that the denoising autoencoder does not see.
        decoder: channels of its decoder's stages, each of twice the height and width of the one before.
        components: width of the codes that are clustered, the features along their first principal components, scaled
            to unit variance on average.
        hidden: width of the cluster network's hidden layer, and of each subcluster network's.
        batch: codes in a step.
        every: steps between two estimates of the Gaussians.
        moves: estimates between two moves; splits and merges take turns.
        concentration: of the Dirichlet process; more makes more clusters.
        variance: of a cluster's codes, as the prior expects it.
        certainty: how many codes the prior's variance counts as; more makes rounder clusters.
        evidence: how many codes all of them count as, at most, when splits and merges are weighed. Features of images
            are not Gaussian, and with more evidence a cluster parts for a smaller deviation; more makes more clusters.
    """

    augment: PolicyConfig = ()
    embedding: Fraction = 0.4
    lost: Fraction = 0.5
    decoder: tuple[Count, ...] = (64, 32, 16)
    components: Count = 10
    hidden: Count = 50
    batch: Count = 2048
    every: Count = 5
    moves: Count = 2
    concentration: Positive = 10.0
    variance: Positive = 0.1
    certainty: Positive = 1.0
    evidence: Count = 8000


class DeepDPM(EncoderMethod):
    """A denoising autoencoder first; then, its encoder frozen, networks that cluster its codes."""

    streams = ("unlabelled",)
    columns = ("image", "with lost pixels", "restored by the embedding")
    progress: Tensor
    age: Tensor
    centre: Tensor
    directions: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.decoder = Decoder(encoder.width, config.decoder, channels=len(encoder.mean))
        width = min(config.components, encoder.width)
        prior = round_prior(width, config.variance, config.certainty)
        self.network = MixtureNetwork(width, config.hidden, prior, config.concentration, config.evidence)
        self.network.requires_grad_(False)
        self.register_buffer("progress", torch.zeros(()))  # of training, at the last step
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))  # steps since there are clusters
        self.register_buffer("centre", torch.zeros(encoder.width))
        self.register_buffer("directions", torch.zeros(encoder.width, width))
        self._codes: Tensor | None = None  # of all images; nothing that the frozen encoder could not give again

    def encode(self, images: Tensor) -> Tensor:
        """Codes [B, components] of images [B, C, H, W]."""
        codes: Tensor = (self.encoder(images) - self.centre) @ self.directions
        return codes

    @torch.no_grad()
    def assign(self, images: Tensor) -> Tensor:
        """The cluster of each image [B, C, H, W]: int64 [B], of as many as were found."""
        if not len(self.network):
            raise ParameterError("settings.embedding: all of the training went into the embedding; lower it")
        found: Tensor = self.network(self.encode(images)).argmax(dim=1)
        return found

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """The embedding's loss as long as there are no clusters, then the clusters'."""
        self.progress.fill_(batch.progress)
        loss = self.cluster(draw) if len(self.network) else self.embed(batch, draw)
        return Losses(loss, {"clusters": torch.tensor(float(len(self.network)), device=loss.device)})

    def embed(self, batch: Batches, draw: Draw) -> Tensor:
        """Mean squared error between the clean image and what is made of one with black pixels."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        return F.mse_loss(self.restore(self.without(images, draw.stream("noise"))), images)

    def without(self, images: Tensor, draw: Draw) -> Tensor:
        """Images [B, C, H, W], some of their pixels black."""
        return images * (draw.uniform(len(images), 1, *images.shape[2:]) >= self.config.lost)

    def restore(self, corrupted: Tensor) -> Tensor:
        """What the denoising autoencoder makes of images [B, C, H, W] with black pixels."""
        restored: Tensor = self.decoder(self.encoder(corrupted), corrupted.shape[2:])
        return restored

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], these with black pixels, and restored: [B, 3, C, H, W]."""
        corrupted = self.without(images, Draw(0, "pictures", device=images.device))
        return torch.stack([images, corrupted, self.restore(corrupted).clamp(0, 1)], dim=1)

    def cluster(self, draw: Draw) -> Tensor:
        """The losses of the cluster network and of the subcluster networks on codes drawn from all."""
        assert self._codes is not None
        chosen = draw.stream("codes").integers(self.config.batch // draw.ranks, high=len(self._codes))
        divergence, apart = self.network.losses(self._codes[chosen])
        return divergence + apart

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Begin with one cluster when the embedding is over; then estimate, split and merge now and then."""
        if not len(self.network) and self.progress < self.config.embedding:
            return
        if self._codes is None:
            features = encode_all(self.encoder, streams["unlabelled"])  # [N, width]
            if not len(self.network):
                self._look_along(features)
            self._codes = (features - self.centre) @ self.directions  # [N, components]
        if self.age % self.config.every == 0:
            with seeded(draw.seed, f"{draw.name}/networks", step):
                self._move(self._codes, draw)
        self.age += 1

    def _move(self, codes: Tensor, draw: Draw) -> None:
        if not len(self.network):
            self._freeze()
            self.network.start(codes)
            return
        self.network.estimate(codes)
        move, rest = divmod(int(self.age) // self.config.every, self.config.moves)
        if rest == 0 and self.progress < SETTLING:
            (self.network.split if move % 2 else self.network.merge)(codes, draw)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Have as many clusters as the state before it is read."""
        found = {name.split(".")[2] for name in state_dict if name.startswith("network.clusters.")}
        self.network.resize(len(found))
        self.network.to(self.centre.device)
        self._codes = None
        if found:
            self._freeze()
        return super().load_state_dict(state_dict, strict, assign)

    def _freeze(self) -> None:
        self.encoder.requires_grad_(False)
        self.decoder.requires_grad_(False)
        self.network.requires_grad_(True)

    def _look_along(self, features: Tensor) -> None:
        """Take the codes along the first principal components of features [N, width]."""
        from sklearn.decomposition import PCA

        found = PCA(self.network.width, svd_solver="covariance_eigh").fit(features.double().cpu().numpy())
        self.centre.copy_(torch.from_numpy(found.mean_))
        self.directions.copy_(torch.from_numpy(found.components_.T / np.sqrt(found.explained_variance_.mean())))


def round_prior(width: int, variance: float, certainty: float) -> Prior:
    """About the middle of all codes, with which a cluster's covariance is `variance` times the unit matrix on average,
    as if `certainty` codes said so."""
    scale = certainty * variance * torch.eye(width, dtype=torch.float64)
    return Prior(torch.zeros(width, dtype=torch.float64), 1e-4, scale, width + 1 + certainty)
