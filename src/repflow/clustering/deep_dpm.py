"""DeepDPM: clusters and how many there are, by networks that split and merge as a Dirichlet process mixture's would.

Ronen, Finder, Freifeld. DeepDPM: Deep Clustering With an Unknown Number of Clusters. CVPR 2022.
"""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from repflow.augment import Policy, PolicyConfig
from repflow.data.batches import Batches, Stream
from repflow.draw import Draw, seeded
from repflow.encoders import Encoder
from repflow.encoders.decoder import Decoder
from repflow.encoders.passes import encode_all
from repflow.errors import ParameterError
from repflow.method import EncoderMethod, Losses
from repflow.mixtures import Prior, log_split_ratio, moments, most_probable
from repflow.schema import Count, Fraction, Positive, parameters

SMALLEST = 5
"""Codes that each half must have for a cluster to be split."""
NEIGHBOURS = 3
"""Nearest clusters that a cluster may be merged with."""
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
        certainty: how many codes the prior's variance counts as. More makes fewer clusters that are not round.
    """

    augment: PolicyConfig = ()
    embedding: Fraction = 0.5
    lost: Fraction = 0.5
    decoder: tuple[Count, ...] = (64, 32, 16)
    components: Count = 10
    hidden: Count = 50
    batch: Count = 2048
    every: Count = 10
    moves: Count = 3
    concentration: Positive = 10.0
    variance: Positive = 0.1
    certainty: Positive = 1.0


class Cluster(nn.Module):
    """What one cluster has: its unit of the cluster network, its subcluster network, its Gaussian and two halves."""

    share: Tensor
    mean: Tensor
    covariance: Tensor
    halves: Tensor

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.unit = nn.Linear(hidden, 1)
        self.sides = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        self.register_buffer("share", torch.ones(()))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("covariance", torch.eye(width))
        self.register_buffer("halves", torch.zeros(2, width))


class DeepDPM(EncoderMethod):
    """A denoising autoencoder first; then, its encoder frozen, a network of clusters on its codes."""

    streams = ("unlabelled",)
    progress: Tensor
    age: Tensor
    centre: Tensor
    directions: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.decoder = Decoder(encoder.width, config.decoder, channels=len(encoder.mean))
        self.width = min(config.components, encoder.width)
        self.trunk = nn.Sequential(nn.Linear(self.width, config.hidden), nn.ReLU()).requires_grad_(False)
        self.clusters = nn.ModuleList()
        self.register_buffer("progress", torch.zeros(()))  # of training, at the last step
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))  # steps since there are clusters
        self.register_buffer("centre", torch.zeros(encoder.width))
        self.register_buffer("directions", torch.zeros(encoder.width, self.width))
        self._codes: Tensor | None = None  # of all images; nothing that the frozen encoder could not give again

    @property
    def prior(self) -> Prior:
        """Of every cluster: round, about the middle of all codes."""
        degrees = self.width + 1 + self.config.certainty  # with which the scale's mean is the wanted variance
        scale = self.config.certainty * self.config.variance * torch.eye(self.width, dtype=torch.float64)
        return Prior(torch.zeros(self.width, dtype=torch.float64), 1e-4, scale, degrees)

    def encode(self, images: Tensor) -> Tensor:
        """Codes [B, components] of images [B, C, H, W]."""
        return (self.encoder(images) - self.centre) @ self.directions

    def network(self, codes: Tensor) -> Tensor:
        """The cluster network's logits [n, K] of codes [n, components]."""
        hidden = self.trunk(codes)
        return torch.cat([cluster.unit(hidden) for cluster in self._each()], dim=1)

    @torch.no_grad()
    def assign(self, images: Tensor) -> Tensor:
        """The cluster of each image [B, C, H, W]: int64 [B], of as many as were found."""
        if not len(self.clusters):
            raise ParameterError("settings.embedding: all of the training went into the embedding; lower it")
        return self.network(self.encode(images)).argmax(dim=1)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """The embedding's loss as long as there are no clusters, then the clusters'."""
        self.progress.fill_(batch.progress)
        loss = self.cluster(draw) if len(self.clusters) else self.embed(batch, draw)
        return Losses(loss, {"clusters": torch.tensor(float(len(self.clusters)), device=loss.device)})

    def embed(self, batch: Batches, draw: Draw) -> Tensor:
        """Mean squared error between the clean image and what is made of one with black pixels."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        seen = draw.stream("noise").uniform(len(images), 1, *images.shape[2:]) >= self.config.lost
        return F.mse_loss(self.decoder(self.encoder(images * seen), images.shape[2:]), images)

    def cluster(self, draw: Draw) -> Tensor:
        """What the cluster network's shares are away from the Gaussians' (the E-step), and the sides from the halves.

        The divergence is that of the authors' code, from the Gaussians' shares to the network's.
        """
        assert self._codes is not None
        count = self.config.batch // draw.ranks
        codes = self._codes[draw.stream("codes").integers(count, high=len(self._codes))]  # [n, d]
        logits = self.network(codes)  # [n, K]
        divergence = F.kl_div(logits.log_softmax(1), self.expected(codes), reduction="none").sum(dim=1).mean()
        apart = torch.zeros_like(divergence)
        for number, cluster in enumerate(self._each()):
            distances = (codes[:, None] - cluster.halves).square().sum(dim=2)  # [n, 2]
            within = (cluster.sides(codes).softmax(1) * distances).sum(dim=1)
            apart = apart + (within * (logits.argmax(dim=1) == number)).mean()
        return divergence + apart / self.width

    @torch.no_grad()
    def expected(self, codes: Tensor) -> Tensor:
        """The shares that the clusters' Gaussians have in codes [n, d]: [n, K]."""
        means, covariances, shares = (
            torch.stack([getattr(cluster, name) for cluster in self.clusters])
            for name in ("mean", "covariance", "share")
        )
        densities = MultivariateNormal(means, covariances).log_prob(codes[:, None])  # [n, K]
        return (densities + shares.log()).softmax(dim=1)

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Begin with one cluster when the embedding is over; then estimate, split and merge now and then."""
        if not len(self.clusters) and self.progress < self.config.embedding:
            return
        if self._codes is None:
            features = encode_all(self.encoder, streams["unlabelled"])  # [N, width]
            if not len(self.clusters):
                self._look_along(features)
            self._codes = (features - self.centre) @ self.directions  # [N, components]
        if self.age % self.config.every == 0:
            with seeded(draw.seed, f"{draw.name}/networks", step):  # of new clusters
                self._move(self._codes, draw)
        self.age += 1

    def load_state_dict(self, state: Mapping[str, Any], *arguments: Any, **named: Any) -> Any:
        """Have as many clusters as the state before it is read."""
        found = {name.split(".")[1] for name in state if name.startswith("clusters.")}
        self.clusters = nn.ModuleList(Cluster(self.width, self.config.hidden) for _ in found).to(self.centre.device)
        self._codes = None
        if found:
            self._freeze()
        return super().load_state_dict(state, *arguments, **named)

    def _move(self, codes: Tensor, draw: Draw) -> None:
        """The first cluster, or new estimates, and every few times a split or a merge after them."""
        if not len(self.clusters):
            self._freeze()
            everything = torch.ones(len(codes), dtype=torch.bool, device=codes.device)
            self.clusters = nn.ModuleList([self._new(codes, everything)])
            return
        self._estimate(codes)
        move, rest = divmod(int(self.age) // self.config.every, self.config.moves)
        if rest == 0 and self.progress < SETTLING:
            (self._split if move % 2 else self._merge)(codes, draw)

    def _freeze(self) -> None:
        self.encoder.requires_grad_(False)
        self.decoder.requires_grad_(False)
        self.trunk.requires_grad_(True)

    def _look_along(self, features: Tensor) -> None:
        """Take the codes along the first principal components of features [N, width]."""
        from sklearn.decomposition import PCA

        found = PCA(self.width, svd_solver="covariance_eigh").fit(features.double().cpu().numpy())
        self.centre.copy_(torch.from_numpy(found.mean_))
        self.directions.copy_(torch.from_numpy(found.components_.T / np.sqrt(found.explained_variance_.mean())))

    def _estimate(self, codes: Tensor) -> None:
        """The most probable Gaussians of what the networks say (the M-step); clusters that have no code go."""
        logits = self.network(codes)  # [N, K]
        shares, labels = logits.softmax(dim=1), logits.argmax(dim=1)
        for number, cluster in enumerate(self._each()):
            self._fit(cluster, codes, shares[:, number])
            within = cluster.sides(codes).softmax(dim=1) * (labels == number)[:, None]  # [N, 2]
            cluster.halves.copy_(most_probable(self.prior, moments(codes, within))[0])
        self.clusters = nn.ModuleList(
            cluster for number, cluster in enumerate(self.clusters) if (labels == number).any()
        )

    def _split(self, codes: Tensor, draw: Draw) -> None:
        """Split each cluster along its subcluster network, with the probability of the Hastings ratio."""
        labels = self.network(codes).argmax(dim=1)
        after: list[Cluster] = []
        for number, (cluster, chance) in enumerate(zip(self._each(), draw.uniform(len(self.clusters)), strict=True)):
            own = labels == number
            second = own & (cluster.sides(codes).argmax(dim=1) == 1)
            first = own & ~second
            if min(first.sum(), second.sum()) > SMALLEST and chance.log() < self._ratio(codes, first, second):
                after += [self._new(codes, half, cluster) for half in (first, second)]
            else:
                after.append(cluster)
        self.clusters = nn.ModuleList(after)

    def _merge(self, codes: Tensor, draw: Draw) -> None:
        """Merge near clusters, most probable pairs first, with the probability of the Hastings ratio."""
        labels, each = self.network(codes).argmax(dim=1), self._each()
        means = torch.stack([cluster.mean for cluster in each])
        near = torch.cdist(means, means).argsort(dim=1)[:, 1 : 1 + NEIGHBOURS].tolist()
        pairs = sorted({(min(one, other), max(one, other)) for one, others in enumerate(near) for other in others})
        chances = draw.uniform(len(pairs)).log().tolist()
        ratios = [-self._ratio(codes, labels == one, labels == other) for one, other in pairs]
        after = dict(enumerate(each))
        for ratio, chance, (one, other) in sorted(zip(ratios, chances, pairs, strict=True), reverse=True):
            if chance < ratio and after.get(one) is each[one] and after.get(other) is each[other]:
                larger = each[one] if each[one].share > each[other].share else each[other]
                after[one] = self._new(codes, (labels == one) | (labels == other), larger)
                del after[other]
        self.clusters = nn.ModuleList(after.values())

    def _ratio(self, codes: Tensor, first: Tensor, second: Tensor) -> float:
        both = first | second
        return log_split_ratio(self.prior, self.config.concentration, codes[both], second[both])

    def _new(self, codes: Tensor, own: Tensor, like: Cluster | None = None) -> Cluster:
        """A cluster of its own of the codes, bool [N], with another's unit; its halves lie along its longest axis."""
        cluster = Cluster(self.width, self.config.hidden).to(codes.device)
        if like is not None:
            cluster.unit.load_state_dict(like.unit.state_dict())
        self._fit(cluster, codes, own)
        lengths, axes = torch.linalg.eigh(cluster.covariance)
        along = lengths[-1].sqrt() * axes[:, -1]
        cluster.halves.copy_(cluster.mean + torch.stack([-along, along]))
        return cluster

    def _fit(self, cluster: Cluster, codes: Tensor, shares: Tensor) -> None:
        """Give a cluster the most probable Gaussian of codes [N, components] of which it has the shares [N]."""
        seen = moments(codes, shares[:, None])
        mean, covariance = most_probable(self.prior, seen)
        cluster.mean.copy_(mean[0])
        cluster.covariance.copy_(covariance[0])
        cluster.share.copy_((seen.count[0] + 1) / len(codes))  # never none

    def _each(self) -> list[Cluster]:
        return [cast(Cluster, cluster) for cluster in self.clusters]
