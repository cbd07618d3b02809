"""SwAV: foretell from one view to which prototypes another view of the image is assigned.

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
        augment: the policy that the two views are drawn from.
        small: the policy that makes a small view of one more such view (multi-crop).
        smalls: how many small views there are.
        temperature: of the predictions.
        sharpness: of the assignments, the paper's epsilon; small ones are nearly hard.
        hidden: width of the projection head's hidden layer.
        projection: width of the projections.
        prototypes: how many there are.
        queue: earlier features of each view that are assigned along with the batch, so that many prototypes can be used
            evenly.
        queue_from: share of training after which the queue is used.
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
    """The encoder below a projection head and the prototypes, which are kept at unit length."""

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
        """Cross-entropy of each view's scores with the assignment of each of the two large views, but its own."""
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
        """Projections of images, of unit length: [B, projection]."""
        return F.normalize(self.projection_head(self.encoder(images)))

    def scores(self, projections: Tensor) -> Tensor:
        """Cosines with the prototypes: [B, prototypes]; exact to at least 32 bits, as their exponentials are taken."""
        with torch.autocast(projections.device.type, enabled=False):
            scores: Tensor = self.prototypes(projections.to(self.prototypes.weight.dtype))
            return scores

    def after_step(self) -> None:
        """Bring the prototypes back to unit length, and let the queue go on."""
        normalize_weight(self.prototypes.weight)
        assert self._seen is not None
        self.queue.push(self._seen)
        self._seen = None
