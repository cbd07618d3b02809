"""The clustering network and the subclustering networks of DeepDPM, with their Gaussians.

Ronen, Finder, Freifeld. DeepDPM: Deep Clustering With an Unknown Number of Clusters. CVPR 2022.
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
"""A cluster is split only if both subclusters have more codes than this."""
NEIGHBOURS = 3
"""Number of nearest clusters considered for merging with a cluster."""


class Cluster(nn.Module):
    """One cluster: its output unit, its Gaussian and the means of its two subclusters."""

    share: Tensor
    mean: Tensor
    covariance: Tensor
    subcluster_means: Tensor

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.unit = nn.Linear(hidden, 1)
        self.register_buffer("share", torch.ones(()))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("covariance", torch.eye(width))
        self.register_buffer("subcluster_means", torch.zeros(2, width))

    def fit(self, prior: Prior, codes: Tensor, shares: Tensor) -> None:
        """Set the MAP estimate of the Gaussian for codes [N, width] with the cluster's responsibilities [N]."""
        statistics = moments(codes, shares[:, None])
        mean, covariance = most_probable(prior, statistics)
        self.mean.copy_(mean[0])
        self.covariance.copy_(covariance[0])
        self.share.copy_((statistics.count[0] + 1) / len(codes))  # never 0

    def divide(self) -> None:
        """Set the means of the subclusters to points on the first principal axis, a standard deviation to each side."""
        lengths, axes = torch.linalg.eigh(self.covariance)
        axis = axes[:, -1]
        axis = axis * axis[axis.abs().argmax()].sign()  # either side is right; rounding would choose one
        along = square_root(lengths[-1]) * axis
        self.subcluster_means.copy_(self.mean + torch.stack([-along, along]))


Pair = tuple[Cluster, nn.Module]
"""A cluster and its subclustering network."""


class MixtureNetwork(nn.Module):
    """Codes to cluster logits; there are no clusters before `start`.

    The subclustering networks are a module of their own, so that they may have a learning rate of their own. New
    clusters have random weights from PyTorch's global generator.

    Args:
        width: of the codes.
        hidden: width of the hidden layer of each network.
        prior: of every Gaussian.
        concentration: of the Dirichlet process.
        evidence: maximum total number of observations that the codes count as in split and merge decisions; None for
            as many as there are.
    """

    def __init__(self, width: int, hidden: int, prior: Prior, concentration: float, evidence: int | None):
        super().__init__()
        self.width, self.hidden = width, hidden
        self.prior, self.concentration, self.evidence = prior, concentration, evidence
        self.trunk = nn.Sequential(nn.Linear(width, hidden), nn.ReLU())
        self.clusters = nn.ModuleList()
        self.subclusters = nn.ModuleList()

    def __len__(self) -> int:
        return len(self.clusters)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits [n, K] of codes [n, width]."""
        hidden = self.trunk(codes)
        return torch.cat([cluster.unit(hidden) for cluster in self.each()], dim=1)

    def each(self) -> list[Cluster]:
        """The clusters."""
        return [cast(Cluster, cluster) for cluster in self.clusters]

    def pairs(self) -> list[Pair]:
        """The clusters with their subclustering networks, of codes [n, width] to logits [n, 2]."""
        return list(zip(self.each(), self.subclusters, strict=True))

    def losses(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The clustering loss and the subclustering loss of codes [n, width]: two scalars.

        The first is the Kullback-Leibler divergence between the Gaussians' responsibilities (the E-step) and the
        network's softmax, in the direction of the authors' code; the second the squared distance of a code to the means
        of its cluster's two subclusters, weighted by the subclustering network's softmax.
        """
        logits = self(codes)  # [n, K]
        divergence = (
            F.kl_div(logits.log_softmax(dim=1), self.responsibilities(codes), reduction="none").sum(dim=1).mean()
        )
        apart = torch.zeros_like(divergence)
        for number, (cluster, subclusters) in enumerate(self.pairs()):
            squares = (codes[:, None] - cluster.subcluster_means).square().sum(dim=2)  # [n, 2]
            within = (subclusters(codes).softmax(dim=1) * squares).sum(dim=1)
            apart = apart + (within * (logits.argmax(dim=1) == number)).mean()
        return divergence, apart

    @torch.no_grad()
    def responsibilities(self, codes: Tensor) -> Tensor:
        """The responsibilities [n, K] of the clusters' Gaussians for codes [n, width] (the E-step)."""
        each = self.each()
        means, covariances = torch.stack([one.mean for one in each]), torch.stack([one.covariance for one in each])
        # Without checks of values, for which the host would wait for a GPU.
        factors = torch.linalg.cholesky_ex(covariances).L
        normal = MultivariateNormal(means, scale_tril=factors, validate_args=False)
        densities = normal.log_prob(codes[:, None])  # [n, K]
        shares: Tensor = (densities + torch.stack([one.share for one in each]).log()).softmax(dim=1)
        return shares

    def resize(self, count: int) -> None:
        """Create `count` clusters, before a state dict is loaded."""
        self._set_clusters((Cluster(self.width, self.hidden), self._new_subclusters()) for _ in range(count))

    def start(self, codes: Tensor) -> None:
        """Start with a single cluster of all codes [N, width]."""
        self._set_clusters([self._new_cluster(codes, torch.ones(len(codes), dtype=torch.bool, device=codes.device))])

    def m_step(self, codes: Tensor) -> None:
        """MAP estimates of the Gaussians from the soft assignment of all codes (the M-step); drops empty clusters.

        Subclusters of which one is empty are divided anew, as in the authors' code.
        """
        logits = self(codes)  # [N, K]
        shares, labels = logits.softmax(dim=1), logits.argmax(dim=1)
        kept = []
        for number, (cluster, subclusters) in enumerate(self.pairs()):
            own = labels == number
            if not own.any():
                continue
            kept.append((cluster, subclusters))
            cluster.fit(self.prior, codes, shares[:, number])
            sides = subclusters(codes).softmax(dim=1)  # [N, 2]
            if (sides[own].argmax(dim=1) == sides[own][:1].argmax(dim=1)).all():
                cluster.divide()
            else:
                within = moments(codes, sides * own[:, None])
                cluster.subcluster_means.copy_(most_probable(self.prior, within)[0])
        self._set_clusters(kept)

    def split(self, codes: Tensor, draw: Draw) -> None:
        """Split clusters into their subclusters, each accepted by its Hastings ratio."""
        labels = self(codes).argmax(dim=1)
        after: list[Pair] = []
        for number, (pair, chance) in enumerate(zip(self.pairs(), draw.uniform(len(self)), strict=True)):
            cluster, subclusters = pair
            own = labels == number
            second = own & (subclusters(codes).argmax(dim=1) == 1)
            first = own & ~second
            if min(first.sum(), second.sum()) > SMALLEST and chance.log() < self._ratio(codes, first, second):
                after += [self._new_cluster(codes, half, cluster) for half in (first, second)]
            else:
                after.append(pair)
        self._set_clusters(after)

    def merge(self, codes: Tensor, draw: Draw) -> None:
        """Merge pairs of neighbouring clusters, the best first, each accepted by its Hastings ratio."""
        labels, each = self(codes).argmax(dim=1), self.each()
        means = torch.stack([cluster.mean for cluster in each])
        others = distances(means, means).fill_diagonal_(torch.inf).argsort(dim=1, stable=True)
        near = others[:, : min(NEIGHBOURS, len(each) - 1)].tolist()
        proposed = sorted({(min(one, other), max(one, other)) for one, others in enumerate(near) for other in others})
        ratios = [-self._ratio(codes, labels == one, labels == other) for one, other in proposed]
        chances = draw.uniform(len(proposed)).log().tolist()
        after = dict(enumerate(self.pairs()))
        free = set(after)  # those that have not been merged
        for ratio, chance, (one, other) in sorted(zip(ratios, chances, proposed, strict=True), reverse=True):
            if chance < ratio and {one, other} <= free:
                larger = max(each[one], each[other], key=lambda cluster: float(cluster.share))
                after[one] = self._new_cluster(codes, (labels == one) | (labels == other), larger)
                del after[other]
                free -= {one, other}
        self._set_clusters(after.values())

    def _ratio(self, codes: Tensor, first: Tensor, second: Tensor) -> float:
        both = first | second
        weight = 1.0 if self.evidence is None else min(1.0, self.evidence / len(codes))
        return log_split_ratio(self.prior, self.concentration, codes[both], second[both], weight)

    def _new_cluster(self, codes: Tensor, own: Tensor, like: Cluster | None = None) -> Pair:
        """A new cluster of the codes `own`, bool [N], with a copy of the output unit of `like`, and its untrained
        subclustering network."""
        cluster = Cluster(self.width, self.hidden).to(codes.device)
        if like is not None:
            cluster.unit.load_state_dict(like.unit.state_dict())
        cluster.fit(self.prior, codes, own)
        cluster.divide()
        return cluster, self._new_subclusters().to(codes.device)

    def _new_subclusters(self) -> nn.Module:
        return nn.Sequential(nn.Linear(self.width, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 2))

    def _set_clusters(self, pairs: Iterable[Pair]) -> None:
        found = list(pairs)
        self.clusters = nn.ModuleList(cluster for cluster, _ in found)
        self.subclusters = nn.ModuleList(subclusters for _, subclusters in found)
