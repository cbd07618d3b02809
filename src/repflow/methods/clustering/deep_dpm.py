"""DeepDPM: find clusters and their number with a Dirichlet process mixture whose clusters are split and merged.

Ronen, Finder, Freifeld. DeepDPM: Deep Clustering With an Unknown Number of Clusters. CVPR 2022.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.errors import ParameterError
from repflow.methods.parts.dataset_features import encode_all
from repflow.methods.parts.decoder import Decoder
from repflow.methods.parts.mixtures.gaussians import Prior
from repflow.methods.parts.mixtures.network import MixtureNetwork
from repflow.methods.parts.shared_encoder import with_shared_encoder
from repflow.methods.registry import find_method
from repflow.randomness.draws import Draw, seeded
from repflow.schema import Count, Fraction, NonNegativeCount, Positive, build, parameters
from repflow.training.contract import EncoderMethod, Losses

SETTLING = 0.9
"""Progress of training after which no cluster is split or merged."""


@parameters
class Pretext:
    """What trains the encoder.

    Attributes:
        name: of a method in `pretext`, with a single update per step.
        settings: of that method.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)


@parameters
class Config:
    """DeepDPM's parameters.

    Attributes:
        embedding: fraction of training in which the encoder is trained; with 0 it stays as it is, which is meant for
            weights that others trained (`encoder.weights`).
        pretext: the method by which it is trained; None for a denoising autoencoder, with the three following settings.
        augment: augmentation policy of the autoencoder's images.
        lost: fraction of pixels that are masked for the denoising autoencoder.
        decoder: channels of the decoder's stages, each of which doubles height and width.
        components: dimension of the codes that are clustered: the first principal components of the features, scaled
            to unit variance on average.
        hidden: width of the hidden layers of the clustering and subclustering networks.
        batch: codes per step.
        every: steps between two estimates of the Gaussians (M-steps).
        moves: estimates between two moves, which are splits and merges in turn.
        hold: estimates after a move that are left out: for so long the Gaussians and the means of the subclusters stay
            what the move made them, and the networks learn them.
        concentration: of the Dirichlet process; a higher value gives more clusters.
        variance: prior variance of a cluster's codes.
        certainty: pseudo-count of the prior variance; a higher value gives rounder clusters.
        evidence: maximum total number of observations that the codes count as in split and merge decisions; None for
            as many as there are, as in the paper. Features of images are not Gaussian; with a higher value clusters are
            split for smaller deviations.
    """

    embedding: Fraction = 0.4
    pretext: Pretext | None = None
    augment: PolicyConfig = ()
    lost: Fraction = 0.5
    decoder: tuple[Count, ...] = (64, 32, 16)
    components: Count = 10
    hidden: Count = 50
    batch: Count = 2048
    every: Count = 2
    moves: Count = 10
    hold: NonNegativeCount = 5
    concentration: Positive = 10.0
    variance: Positive = 0.1
    certainty: Positive = 1.0
    evidence: Count | None = None


class DeepDPM(EncoderMethod):
    """First a pretext method, as a denoising autoencoder; then its encoder is frozen and networks cluster its codes."""

    streams = ("unlabelled",)
    progress: Tensor
    age: Tensor
    centre: Tensor
    directions: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.pretext = None if config.pretext is None else _build_pretext(config.pretext, encoder)
        self.decoder: Decoder | None = None
        if self.pretext is None:
            self.decoder = Decoder(encoder.width, config.decoder, channels=len(encoder.mean))
        width = min(config.components, encoder.width)
        prior = round_prior(width, config.variance, config.certainty)
        self.network = MixtureNetwork(width, config.hidden, prior, config.concentration, config.evidence)
        self.network.requires_grad_(False)
        self.register_buffer("progress", torch.zeros(()))  # fraction of training done
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))  # steps of the clustering phase
        self.register_buffer("centre", torch.zeros(encoder.width))
        self.register_buffer("directions", torch.zeros(encoder.width, width))
        self._codes: Tensor | None = None  # of all images; recomputed on resume
        # `progress` and `age` as the host knows them: to ask a GPU, every step would have to wait for it.
        self._done, self._age = 0.0, 0

    def encode(self, images: Tensor) -> Tensor:
        """Codes [B, components] of images [B, C, H, W]."""
        codes: Tensor = (self.encoder(images) - self.centre) @ self.directions
        return codes

    @torch.no_grad()
    def assign(self, images: Tensor) -> Tensor:
        """The cluster assignment of each image [B, C, H, W]: int64 [B]."""
        if not len(self.network):
            raise ParameterError("settings.embedding: the whole training was spent on the embedding; lower it")
        found: Tensor = self.network(self.encode(images)).argmax(dim=1)
        return found

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """The pretext method's loss in the first phase, the clustering loss in the second."""
        self.progress.fill_(batch.progress)
        self._done = batch.progress
        loss = self.cluster(draw) if len(self.network) else self.embed(batch, draw)
        return Losses(loss, {"clusters": torch.full_like(loss.detach(), len(self.network))})

    def embed(self, batch: Batches, draw: Draw) -> Tensor:
        """The pretext method's loss, or the mean squared error of an image's reconstruction from the masked image."""
        if self.pretext is not None:
            return self.pretext.losses(batch, draw).total
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        return F.mse_loss(self.reconstruct(self.mask_pixels(images, draw.stream("noise"))), images)

    def mask_pixels(self, images: Tensor, draw: Draw) -> Tensor:
        """Images [B, C, H, W] with random pixels set to black."""
        return images * (draw.uniform(len(images), 1, *images.shape[2:]) >= self.config.lost)

    def reconstruct(self, corrupted: Tensor) -> Tensor:
        """Reconstructions of masked images [B, C, H, W]."""
        assert self.decoder is not None
        restored: Tensor = self.decoder(self.encoder(corrupted), corrupted.shape[2:])
        return restored

    @property
    def columns(self) -> tuple[str, ...]:
        """Titles of the columns of `figures`."""
        return ("image",) if self.decoder is None else ("image", "masked", "reconstructed")

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], masked images and reconstructions: [B, 3, C, H, W]; images alone where no autoencoder is
        trained."""
        if self.decoder is None:
            return images[:, None]
        corrupted = self.mask_pixels(images, Draw(0, "pictures", device=images.device))
        return torch.stack([images, corrupted, self.reconstruct(corrupted).clamp(0, 1)], dim=1)

    def cluster(self, draw: Draw) -> Tensor:
        """The losses of clustering and subclustering networks on randomly drawn codes."""
        assert self._codes is not None
        chosen = draw.stream("codes").integers(self.config.batch // draw.ranks, high=len(self._codes))
        divergence, apart = self.network.losses(self._codes[chosen])
        return divergence + apart

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Call the pretext method's hook."""
        if self.pretext is not None:
            self.pretext.begin(streams, draw)

    def after_step(self) -> None:
        """Call the pretext method's hook in the first phase."""
        if self.pretext is not None and not len(self.network):
            self.pretext.after_step()

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Start with one cluster after the first phase; then periodically estimate, split and merge clusters."""
        if not len(self.network) and self._done < self.config.embedding:
            if self.pretext is not None:
                self.pretext.refresh(step, streams, draw)
            return
        if self._codes is None:
            features = encode_all(self.encoder, streams["unlabelled"])  # [N, width]
            if not len(self.network):
                self._fit_principal_components(features)
            self._codes = (features - self.centre) @ self.directions  # [N, components]
        if self._age % self.config.every == 0:
            with seeded(draw.seed, f"{draw.name}/networks", step):
                self._update_clusters(self._codes, draw)
        self._age += 1
        self.age.fill_(self._age)

    def _update_clusters(self, codes: Tensor, draw: Draw) -> None:
        if not len(self.network):
            self._freeze()
            self.network.start(codes)
            return
        move, since = divmod(self._age // self.config.every, self.config.moves)
        if 0 < since <= self.config.hold:
            return
        self.network.m_step(codes)
        if since == 0 and self._done < SETTLING:
            (self.network.split if move % 2 else self.network.merge)(codes, draw)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Create as many clusters as the state dict has, and what the pretext method adds, then load it."""
        if self.pretext is not None:
            start = "pretext."
            own = {key.removeprefix(start): value for key, value in state_dict.items() if key.startswith(start)}
            self.pretext.load_state_dict(own, strict, assign)
        found = {name.split(".")[2] for name in state_dict if name.startswith("network.clusters.")}
        self.network.resize(len(found))
        self.network.to(self.centre.device)
        self._codes = None
        if found:
            self._freeze()
        keys = super().load_state_dict(state_dict, strict, assign)
        self._done, self._age = float(self.progress), int(self.age)
        return keys

    def _freeze(self) -> None:
        self.requires_grad_(False)
        self.network.requires_grad_(True)

    def _fit_principal_components(self, features: Tensor) -> None:
        """Set the projection to the first principal components of features [N, width]."""
        from sklearn.decomposition import PCA

        found = PCA(self.network.width, svd_solver="covariance_eigh").fit(features.double().cpu().numpy())
        self.centre.copy_(torch.from_numpy(found.mean_))
        self.directions.copy_(torch.from_numpy(found.components_.T / np.sqrt(found.explained_variance_.mean())))


def round_prior(width: int, variance: float, certainty: float) -> Prior:
    """An isotropic prior centred at the origin, with the expected covariance `variance` times the identity and the
    pseudo-count `certainty`."""
    scale = certainty * variance * torch.eye(width, dtype=torch.float64)
    return Prior(torch.zeros(width, dtype=torch.float64), 1e-4, scale, width + 1 + certainty)


def _build_pretext(pretext: Pretext, encoder: Encoder) -> EncoderMethod:
    """The method that trains `encoder`, which is not one of its modules."""
    kind, settings = find_method("pretext", pretext.name)
    where = f"settings.pretext.{pretext.name}"
    method = with_shared_encoder(kind, build(settings, pretext.settings, f"{where}.settings"), encoder)
    if len(method.updates) > 1 or method.streams != ("unlabelled",):
        raise ParameterError(f"{where}: needs several updates per step, or labels; choose another method")
    return method
