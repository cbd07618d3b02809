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
from repflow.randomness.draws import Draw, seeded
from repflow.randomness.seeds import derive_seed
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """DeepCluster's parameters.

    Attributes:
        augment: augmentation policy.
        clusters: number of clusters; ten times the number of classes in the paper.
        components: number of principal components to which features are reduced and whitened before k-means.
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

    scikit-learn's k-means reassigns the point that is farthest from its centre to an empty cluster, so that no cluster
    stays empty if there are at least as many distinct points as clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    # Threads add up their sums in any order, which can turn a tie.
    with threadpool_limits(1):
        whitening = PCA(min(components, *features.shape), whiten=True, svd_solver="covariance_eigh")
        points = normalize(whitening.fit_transform(features))
        seeker = KMeans(min(clusters, len(points)), n_init=1, max_iter=20, random_state=seed)
        found: np.ndarray = seeker.fit_predict(points)
    return found


def balance(labels: Tensor, clusters: int) -> Tensor:
    """Weight of an image of each cluster, [clusters]: equal total weight per cluster, and 1 per image on average.

    Equivalent to sampling images uniformly over clusters, as the paper notes.
    """
    sizes = torch.bincount(labels, minlength=clusters)
    return len(labels) / ((sizes > 0).sum() * sizes.clamp(min=1))
