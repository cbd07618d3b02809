"""DeepCluster: k-means on the features gives labels, telling the labels gives better features, and so on.

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
from repflow.methods.parts.passes import encode_all
from repflow.randomness.draws import Draw, seeded
from repflow.randomness.seeds import derive_seed
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """DeepCluster's parameters.

    Attributes:
        augment: the policy that makes the view whose cluster is told.
        clusters: how many; ten times the number of classes in the paper.
        components: features are whitened along as many of their principal components before k-means.
        every: steps between two reassignments; an epoch in the paper.
    """

    augment: PolicyConfig
    clusters: Count = 100
    components: Count = 64
    every: Count = 100


class DeepCluster(EncoderMethod):
    """The encoder below a linear layer that tells the clusters and is made anew whenever they are."""

    streams = ("unlabelled",)
    labels: Tensor
    weights: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.head = nn.Linear(encoder.width, config.clusters)
        self.register_buffer("weights", torch.ones(config.clusters))  # of the clusters in the loss

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Make room for the label of every image."""
        count = len(streams["unlabelled"])
        self.register_buffer("labels", torch.zeros(count, dtype=torch.int64))  # [N]

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Label every image by its cluster among the present features, and begin with a new head."""
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
        """Cross-entropy with the labels, every cluster weighing the same."""
        views = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        labels = self.labels[batch["unlabelled"].rows.to(self.labels.device)]  # [B]
        logits = self.head(self.encoder(views))  # [B, clusters]
        loss = (self.weights[labels] * F.cross_entropy(logits, labels, reduction="none")).mean()
        return Losses(loss, {"accuracy": (logits.argmax(dim=1) == labels).float().mean()})

    @torch.no_grad()
    def assign(self, images: Tensor) -> Tensor:
        """The cluster of each image [B, C, H, W]: int64 [B]."""
        found: Tensor = self.head(self.encoder(images)).argmax(dim=1)
        return found


def clusters_of(features: np.ndarray, clusters: int, components: int, seed: int) -> np.ndarray:
    """Clusters of features [N, width], whitened along their first principal components, as unit vectors: int [N].

    scikit-learn's k-means gives a cluster that runs empty the point that is farthest from its own centre, so that none
    stays empty where there are as many different points as clusters.
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
    """What an image of each cluster weighs, [clusters], so that all clusters weigh the same and an image 1 on average.

    The paper says that it comes to the same as drawing the images evenly over the clusters.
    """
    sizes = torch.bincount(labels, minlength=clusters)
    return len(labels) / ((sizes > 0).sum() * sizes.clamp(min=1))
