"""A network that tells the clusters of codes, one for each cluster that tells its two halves, and their Gaussians.

What Ronen, Finder and Freifeld (CVPR 2022) call the clustering net and the subclustering nets.
"""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from repflow.hardware.portable_math import distances, square_root
from repflow.methods.parts.mixtures.gaussians import Prior, log_split_ratio, moments, most_probable
from repflow.randomness.draws import Draw

SMALLEST = 5
"""Each half of a cluster that is split has more codes than these."""
NEIGHBOURS = 3
"""Nearest clusters that a cluster may be merged with."""


class Cluster(nn.Module):
    """What one cluster has: its unit of the network, its own network of halves, its Gaussian and those halves."""

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

    def fit(self, prior: Prior, codes: Tensor, shares: Tensor) -> None:
        """Take the most probable Gaussian of codes [N, width] of which the cluster has the shares [N]."""
        seen = moments(codes, shares[:, None])
        mean, covariance = most_probable(prior, seen)
        self.mean.copy_(mean[0])
        self.covariance.copy_(covariance[0])
        self.share.copy_((seen.count[0] + 1) / len(codes))  # never none


class MixtureNetwork(nn.Module):
    """Codes to clusters; there are none until `start`.

    New clusters have random weights from PyTorch's global generator.

    Args:
        width: of the codes.
        hidden: width of the hidden layer of each network.
        prior: of every cluster's Gaussian.
        concentration: of the Dirichlet process.
        evidence: how many codes all of them count as, at most, when splits and merges are weighed.
    """

    def __init__(self, width: int, hidden: int, prior: Prior, concentration: float, evidence: int):
        super().__init__()
        self.width, self.hidden = width, hidden
        self.prior, self.concentration, self.evidence = prior, concentration, evidence
        self.trunk = nn.Sequential(nn.Linear(width, hidden), nn.ReLU())
        self.clusters = nn.ModuleList()

    def __len__(self) -> int:
        return len(self.clusters)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits [n, K] of codes [n, width]."""
        hidden = self.trunk(codes)
        return torch.cat([cluster.unit(hidden) for cluster in self.each()], dim=1)

    def each(self) -> list[Cluster]:
        """The clusters."""
        return [cast(Cluster, cluster) for cluster in self.clusters]

    def losses(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """How far the shares that the networks give codes [n, width] are from what they should be: two scalars.

        The first is the divergence from the Gaussians' shares (the E-step) to the network's, in the direction that the
        authors' code takes; the second the mean squared distance of a code from the halves of its cluster, weighted by
        its shares in them.
        """
        logits = self(codes)  # [n, K]
        divergence = F.kl_div(logits.log_softmax(dim=1), self.expected(codes), reduction="none").sum(dim=1).mean()
        apart = torch.zeros_like(divergence)
        for number, cluster in enumerate(self.each()):
            distances = (codes[:, None] - cluster.halves).square().mean(dim=2)  # [n, 2]
            within = (cluster.sides(codes).softmax(dim=1) * distances).sum(dim=1)
            apart = apart + (within * (logits.argmax(dim=1) == number)).mean()
        return divergence, apart

    @torch.no_grad()
    def expected(self, codes: Tensor) -> Tensor:
        """The shares [n, K] that the clusters' Gaussians have in codes [n, width]."""
        each = self.each()
        means, covariances = torch.stack([one.mean for one in each]), torch.stack([one.covariance for one in each])
        densities = MultivariateNormal(means, covariances).log_prob(codes[:, None])  # [n, K]
        shares: Tensor = (densities + torch.stack([one.share for one in each]).log()).softmax(dim=1)
        return shares

    def resize(self, count: int) -> None:
        """Have `count` clusters, for a state to be read into."""
        self._have(Cluster(self.width, self.hidden) for _ in range(count))

    def start(self, codes: Tensor) -> None:
        """Have one cluster of all codes [N, width]."""
        self._have([self._new(codes, torch.ones(len(codes), dtype=torch.bool, device=codes.device))])

    def estimate(self, codes: Tensor) -> None:
        """The most probable Gaussians of what the networks say of all codes (the M-step); empty clusters go."""
        logits = self(codes)  # [N, K]
        shares, labels = logits.softmax(dim=1), logits.argmax(dim=1)
        for number, cluster in enumerate(self.each()):
            cluster.fit(self.prior, codes, shares[:, number])
            within = cluster.sides(codes).softmax(dim=1) * (labels == number)[:, None]  # [N, 2]
            cluster.halves.copy_(most_probable(self.prior, moments(codes, within))[0])
        self._have(cluster for number, cluster in enumerate(self.each()) if (labels == number).any())

    def split(self, codes: Tensor, draw: Draw) -> None:
        """Split clusters into their halves, each with the probability of the Hastings ratio."""
        labels = self(codes).argmax(dim=1)
        after = []
        for number, (cluster, chance) in enumerate(zip(self.each(), draw.uniform(len(self)), strict=True)):
            own = labels == number
            second = own & (cluster.sides(codes).argmax(dim=1) == 1)
            first = own & ~second
            if min(first.sum(), second.sum()) > SMALLEST and chance.log() < self._ratio(codes, first, second):
                after += [self._new(codes, half, cluster) for half in (first, second)]
            else:
                after.append(cluster)
        self._have(after)

    def merge(self, codes: Tensor, draw: Draw) -> None:
        """Merge pairs of near clusters, the best first, each with the probability of the Hastings ratio."""
        labels, each = self(codes).argmax(dim=1), self.each()
        means = torch.stack([cluster.mean for cluster in each])
        near = distances(means, means).argsort(dim=1)[:, 1 : 1 + NEIGHBOURS].tolist()
        pairs = sorted({(min(one, other), max(one, other)) for one, others in enumerate(near) for other in others})
        ratios = [-self._ratio(codes, labels == one, labels == other) for one, other in pairs]
        chances = draw.uniform(len(pairs)).log().tolist()
        after = dict(enumerate(each))
        for ratio, chance, (one, other) in sorted(zip(ratios, chances, pairs, strict=True), reverse=True):
            if chance < ratio and after.get(one) is each[one] and after.get(other) is each[other]:
                larger = max(each[one], each[other], key=lambda cluster: float(cluster.share))
                after[one] = self._new(codes, (labels == one) | (labels == other), larger)
                del after[other]
        self._have(after.values())

    def _ratio(self, codes: Tensor, first: Tensor, second: Tensor) -> float:
        both, weight = first | second, min(1.0, self.evidence / len(codes))
        return log_split_ratio(self.prior, self.concentration, codes[both], second[both], weight)

    def _new(self, codes: Tensor, own: Tensor, like: Cluster | None = None) -> Cluster:
        """A cluster of its own of the codes, bool [N], with another's unit; its halves lie along its longest axis."""
        cluster = Cluster(self.width, self.hidden).to(codes.device)
        if like is not None:
            cluster.unit.load_state_dict(like.unit.state_dict())
        cluster.fit(self.prior, codes, own)
        lengths, axes = torch.linalg.eigh(cluster.covariance)
        along = square_root(lengths[-1]) * axes[:, -1]
        cluster.halves.copy_(cluster.mean + torch.stack([-along, along]))
        return cluster

    def _have(self, clusters: Iterable[Cluster]) -> None:
        self.clusters = nn.ModuleList(clusters)
