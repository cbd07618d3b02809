"""DeepCluster: alternate between k-means on the features and classification of the cluster assignments.

Caron, Bojanowski, Joulin, Douze. Deep Clustering for Unsupervised Learning of Visual Features. ECCV 2018.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.methods.parts.dataset_features import encode_all
from repflow.methods.parts.kmeans import nonempty_kmeans
from repflow.randomness.draws import Draw, seeded
from repflow.randomness.seeds import derive_seed
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses

SMALLEST_VARIANCE = 1e-10
"""Of a principal component that is whitened, in mean squared lengths of the features. Dead channels leave components in
which there is nothing but rounding errors, and whitening would make them as large as the others."""
DEVIATION = 0.01
"""Standard deviation of the weights of a new head."""


@parameters
class Config:
    """DeepCluster's parameters.

    Attributes:
        augment: augmentation policy.
        clusters: number of clusters; ten times the number of classes in the paper.
        components: number of principal components to which features are reduced and whitened before k-means, at most
            half the number of images.
        hidden: widths of the layers of an MLP between the encoder and the head. It is kept when clusters are
            reassigned, and what is clustered is its output before the last ReLU.
        every: steps between two reassignments; None for an epoch, as in the paper, within the two following limits.
        reassignments: at least as many in a training that has fewer epochs. Each takes a forward pass of all images.
        settling: at least as many steps between two, in which a new head learns, where an epoch has fewer.
    """

    augment: PolicyConfig
    clusters: Count = 100
    components: Count = 64
    hidden: tuple[Count, ...] = ()
    every: Count | None = None
    reassignments: Count = 8
    settling: Count = 100


class DeepCluster(EncoderMethod):
    """The encoder with a linear classifier of the cluster assignments, which is new at every reassignment."""

    streams = ("unlabelled",)
    labels: Tensor
    weights: Tensor
    interval: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.projection = _mlp((encoder.width, *config.hidden))
        self.head = nn.Linear((encoder.width, *config.hidden)[-1], config.clusters)
        self.register_buffer("weights", torch.ones(config.clusters))  # of each cluster in the loss
        self.register_buffer("interval", torch.zeros((), dtype=torch.int64))  # steps between two reassignments
        self._interval = config.every or 0  # 0 before the length of the training is known

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Allocate the pseudo-label of every image."""
        count = len(streams["unlabelled"])
        self.register_buffer("labels", torch.zeros(count, dtype=torch.int64))  # [N]

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Cluster the current features, assign pseudo-labels and make a new head."""
        if step and (not self._interval or step % self._interval):
            return
        features = self.projection(encode_all(self.encoder, streams["unlabelled"]))  # [N, width]
        seed = derive_seed(draw.seed, draw.name, draw.step) % 2**32
        found = clusters_of(features.cpu().numpy(), self.config.clusters, self.config.components, seed)
        self.labels.copy_(torch.from_numpy(found))
        self.weights.copy_(balance(self.labels, self.config.clusters))
        with seeded(draw.seed, f"{draw.name}/head", step):
            head = nn.Linear(*self.head.weight.shape[::-1])
            nn.init.normal_(head.weight, std=DEVIATION)
        nn.init.zeros_(head.bias)
        self.head = head.to(features.device)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy with the pseudo-labels, with equal total weight of all clusters."""
        self._plan(len(batch["unlabelled"].rows) * draw.ranks, draw.step, batch.progress)
        views = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        labels = self.labels[batch["unlabelled"].rows.to(self.labels.device)]  # [B]
        logits = self.classify(views)  # [B, clusters]
        loss = (self.weights[labels] * F.cross_entropy(logits, labels, reduction="none")).mean()
        return Losses(loss, {"accuracy": (logits.argmax(dim=1) == labels).float().mean()})

    def _plan(self, size: int, step: int, progress: float) -> None:
        """Fix the steps between two reassignments as soon as the length of the training shows, in its second step.

        Args:
            size: images per step, in all processes.
            step: the training step, from 0.
            progress: the completed share of the training steps.
        """
        if not self._interval and step and progress:
            self._interval = interval(self.config, len(self.labels), size, round(step / progress))
            self.interval.fill_(self._interval)

    def classify(self, images: Tensor) -> Tensor:
        """Logits [B, clusters] of images [B, C, H, W]."""
        features = self.projection(self.encoder(images))
        logits: Tensor = self.head(F.relu(features) if self.config.hidden else features)
        return logits

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load the state, and with it when the next reassignment is."""
        keys = super().load_state_dict(state_dict, strict, assign)
        self._interval = self.config.every or int(self.interval)
        return keys

    @torch.no_grad()
    def assign(self, images: Tensor) -> Tensor:
        """The cluster assignment of each image [B, C, H, W]: int64 [B]."""
        found: Tensor = self.classify(images).argmax(dim=1)
        return found


def interval(config: Config, images: int, size: int, steps: int) -> int:
    """Steps between two reassignments.

    Args:
        config: the method's parameters.
        images: in an epoch.
        size: images per step.
        steps: of the whole training.
    """
    return max(config.settling, min(math.ceil(images / size), steps // config.reassignments))


def _mlp(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers from width to width, with a ReLU between two of them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [*([nn.ReLU()] if layers else []), nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


def clusters_of(features: np.ndarray, clusters: int, components: int, seed: int) -> np.ndarray:
    """k-means on PCA-whitened, L2-normalised features [N, width]: cluster assignments, int [N].

    No cluster is empty if there are at least as many distinct points as clusters.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    features = features.astype(np.float64)
    # Whitened along as many components as there are points, all points would be equally far from each other.
    count = max(1, min(components, features.shape[1], len(features) // 2))
    with threadpool_limits(1):  # the order in which threads add up is random, which changes the last digits
        whitening = PCA(count, whiten=True, svd_solver="covariance_eigh")
        points = whitening.fit_transform(features)
    smallest = SMALLEST_VARIANCE * np.square(features).sum(axis=1).mean()
    points = normalize(np.where(whitening.explained_variance_ > smallest, points, 0))
    return nonempty_kmeans(points, clusters, seed)


def balance(labels: Tensor, clusters: int) -> Tensor:
    """Weight of an image of each cluster, [clusters]: equal total weight per cluster, and 1 per image on average.

    Equivalent to sampling images uniformly over clusters, as the paper notes.
    """
    sizes = torch.bincount(labels, minlength=clusters)
    return len(labels) / ((sizes > 0).sum() * sizes.clamp(min=1))
