"""SwAV: predict the prototype assignment of one view from another view.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin. Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments. NeurIPS 2020.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from lightly.models.utils import normalize_weight
from lightly.utils.dist import rank, world_size
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.methods.parts.multi_crop import by_size
from repflow.methods.parts.queue import FeatureQueue
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegativeCount, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """SwAV's parameters.

    Attributes:
        augment: augmentation policy of the two global views.
        local: augmentation policy of a local view (multi-crop), which is cut from the image itself.
        local_views: number of local views.
        temperature: of the predictions' softmax.
        sharpness: the paper's epsilon of the Sinkhorn algorithm; small values give nearly hard assignments.
        hidden: width of the projection head's hidden layer.
        projection: dimension of the projections.
        prototypes: number of prototypes.
        queue: number of earlier features per view that are assigned together with the batch, for a balanced use of many
            prototypes; no more than there are images, and of those as many as whole batches have.
        queue_from: fraction of training after which the queue is used.
    """

    augment: PolicyConfig
    local: PolicyConfig
    local_views: NonNegativeCount = 2
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
        self.augment, self.local = Policy(config.augment), Policy(config.local)
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

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Shorten the queue to the number of images: older features of the same images would be in it, too."""
        self.queue.bound(len(streams["unlabelled"]))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of each view's scores with the assignments of the other global views."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        large = [self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2)]
        small = [self.local(images, draw.stream(f"local-{number}")) for number in range(self.config.local_views)]
        projections = self.project([*large, *small])
        scores = self.scores(projections).chunk(2 + len(small))  # [B, prototypes] each
        seen = projections.detach().chunk(2 + len(small))[:2]
        self._seen = torch.cat(seen, dim=1)  # [B, 2 projection]
        earlier = self.earlier(len(images)) if batch.progress >= self.config.queue_from else None
        return Losses(self.swapped(list(scores[:2]), list(scores[2:]), earlier)[0])

    def project(self, views: Sequence[Tensor]) -> Tensor:
        """L2-normalised projections of views, [B, C, H, W] each: [views x B, projection].

        The batch normalisation of the head sees all views at once.
        """
        return F.normalize(self.projection_head(by_size(self.encoder, views)))

    @torch.no_grad()
    def earlier(self, batch: int) -> list[Tensor] | None:
        """This process's share of the queued features' scores for each of the two views, [N, prototypes] each; None
        until the queue is full. `batch` is the number of images of this process in a step."""
        if not self.queue.full:
            return None
        # Whole batches, as in the authors' program: every process has as many, and the loss is that of one process.
        used = len(self.queue.rows) - len(self.queue.rows) % (batch * world_size())
        mine = self.queue.rows[rank() : used : world_size()]
        return [self.scores(each) for each in mine.chunk(2, dim=1)]

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
