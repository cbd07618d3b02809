"""SwAV: predict the prototype assignment of one view from another view.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin. Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments. NeurIPS 2020.
"""

import torch
import torch.nn.functional as F
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from lightly.models.utils import normalize_weight
from lightly.utils.dist import rank, world_size
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.queue import FeatureQueue
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegativeCount, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """SwAV's parameters.

    Attributes:
        augment: augmentation policy of the two global views.
        small: policy applied after `augment` to make a local view (multi-crop).
        smalls: number of local views.
        temperature: of the predictions' softmax.
        sharpness: the paper's epsilon of the Sinkhorn algorithm; small values give nearly hard assignments.
        hidden: width of the projection head's hidden layer.
        projection: dimension of the projections.
        prototypes: number of prototypes.
        queue: number of earlier features per view that are assigned together with the batch, for a balanced use of many
            prototypes.
        queue_from: fraction of training after which the queue is used.
    """

    augment: PolicyConfig
    small: PolicyConfig = ()
    smalls: NonNegativeCount = 2
    temperature: Positive = 0.1
    sharpness: Positive = 0.05
    hidden: Count = 128
    projection: Count = 64
    prototypes: Count = 128
    queue: Count = 1024
    queue_from: Fraction = 0.15


class SwAV(EncoderMethod):
    """The encoder with a projection head and L2-normalised prototypes."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment, self.shrink = Policy(config.augment), Policy(config.small)
        self.projection_head = SwaVProjectionHead(encoder.width, config.hidden, config.projection)
        self.prototypes = nn.Linear(config.projection, config.prototypes, bias=False)
        normalize_weight(self.prototypes.weight)
        self.queue = FeatureQueue(config.queue, 2 * config.projection)  # of both views, side by side
        self.swapped = SwaVLoss(
            config.temperature,
            sinkhorn_epsilon=config.sharpness,
            sinkhorn_gather_distributed=torch.distributed.is_available(),
        )
        self._seen: Tensor | None = None

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of each view's scores with the assignments of the other global views."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        views = [self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2)]
        large = self.project(torch.cat(views)).chunk(2)  # [B, projection] each
        small = []
        for number in range(self.config.smalls):
            of_small = draw.stream(f"small-{number}")
            small.append(self.project(self.shrink(self.augment(images, of_small.stream("view")), of_small)))
        self._seen = torch.cat(large, dim=1).detach()
        earlier = None
        if batch.progress >= self.config.queue_from and self.queue.full:
            mine = self.queue.rows[rank() :: world_size()]
            earlier = [self.scores(each) for each in mine.chunk(2, dim=1)]
        loss = self.swapped([self.scores(each) for each in large], [self.scores(each) for each in small], earlier)
        return Losses(loss[0])

    def project(self, images: Tensor) -> Tensor:
        """L2-normalised projections of images: [B, projection]."""
        return F.normalize(self.projection_head(self.encoder(images)))

    def scores(self, projections: Tensor) -> Tensor:
        """Cosine similarities with the prototypes: [B, prototypes], in at least float32."""
        with torch.autocast(projections.device.type, enabled=False):
            scores: Tensor = self.prototypes(projections.to(self.prototypes.weight.dtype))
            return scores

    def after_step(self) -> None:
        """Normalise the prototypes and enqueue the projections."""
        normalize_weight(self.prototypes.weight)
        assert self._seen is not None
        self.queue.push(self._seen)
        self._seen = None
