"""DeepCluster: alternate between k-means on the features and classification of the cluster assignments.

Caron, Bojanowski, Joulin, Douze. Deep Clustering for Unsupervised Learning of Visual Features. ECCV 2018.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.methods.parts.dataset_features import encode_all
from repflow.methods.parts.kmeans import kmeans
from repflow.randomness.draws import Draw, seeded
from repflow.randomness.seeds import derive_seed
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses

SMALLEST_VARIANCE = 1e-10
"""Of a principal component that is whitened, in mean squared lengths of the features. Dead channels leave components in
which there is nothing but rounding errors, and whitening would make them as large as the others."""


@parameters
class Config:
    """DeepCluster's parameters.

    Attributes:
        augment: augmentation policy.
        clusters: number of clusters; ten times the number of classes in the paper.
        components: number of principal components to which features are reduced and whitened before k-means, at most
            half the number of images.
        every: steps between two cluster reassignments; an epoch in the paper.
    """

    augment: PolicyConfig
    clusters: Count = 100
    components: Count = 64
    every: Count = 100


class DeepCluster(EncoderMethod):
    """The encoder with a linear classifier of the cluster assignments, reset at every reassignment."""

    streams = ("unlabelled",)
    labels: Tensor
    weights: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.head = nn.Linear(encoder.width, config.clusters)
        self.register_buffer("weights", torch.ones(config.clusters))  # of each cluster in the loss

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Allocate the pseudo-label of every image."""
        count = len(streams["unlabelled"])
        self.register_buffer("labels", torch.zeros(count, dtype=torch.int64))  # [N]

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Cluster the current features, assign pseudo-labels and reset the head."""
        if step % self.config.every:
            return
        features = encode_all(self.encoder, streams["unlabelled"])  # [N, width]
        seed = derive_seed(draw.seed, draw.name, draw.step) % 2**32
        found = clusters_of(features.cpu().numpy(), self.config.clusters, self.config.components, seed)
        self.labels.copy_(torch.from_numpy(found))
        self.weights.copy_(balance(self.labels, self.config.clusters))
        with seeded(draw.seed, f"{draw.name}/head", step):
            head = nn.Linear(*self.head.weight.shape[::-1])
        nn.init.zeros_(head.bias)
        self.head = head.to(features.device)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy with the pseudo-labels, with equal total weight of all clusters."""
        views = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        labels = self.labels[batch["unlabelled"].rows.to(self.labels.device)]  # [B]
        logits = self.head(self.encoder(views))  # [B, clusters]
        loss = (self.weights[labels] * F.cross_entropy(logits, labels, reduction="none")).mean()
        return Losses(loss, {"accuracy": (logits.argmax(dim=1) == labels).float().mean()})

    @torch.no_grad()
    def assign(self, images: Tensor) -> Tensor:
        """The cluster assignment of each image [B, C, H, W]: int64 [B]."""
        found: Tensor = self.head(self.encoder(images)).argmax(dim=1)
        return found


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
    found: np.ndarray = kmeans(points, clusters, seed, iterations=20).labels_
    return found


def balance(labels: Tensor, clusters: int) -> Tensor:
    """Weight of an image of each cluster, [clusters]: equal total weight per cluster, and 1 per image on average.

    Equivalent to sampling images uniformly over clusters, as the paper notes.
    """
    sizes = torch.bincount(labels, minlength=clusters)
    return len(labels) / ((sizes > 0).sum() * sizes.clamp(min=1))
