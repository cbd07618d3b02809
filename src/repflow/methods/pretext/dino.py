"""DINO: self-distillation; a student predicts the outputs of its momentum teacher for other views.

Caron, Touvron, Misra, Jégou, Mairal, Bojanowski, Joulin. Emerging Properties in Self-Supervised Vision Transformers.
ICCV 2021.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from lightly.loss import DINOLoss
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.methods.parts.momentum import MomentumNetwork, cosine_momentum
from repflow.methods.parts.multi_crop import by_size
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegativeCount, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """DINO's parameters.

    Attributes:
        augment: augmentation policy of the first global view.
        second: augmentation policy of the second global view.
        local: augmentation policy of a local view (multi-crop), which is cut from the image itself.
        local_views: number of local views.
        temperature: of the student's softmax.
        teacher_temperature: of the teacher's softmax after its warm-up; lower than the student's (sharpening).
        first_teacher_temperature: at the first step; it increases linearly.
        temperature_warmup: share of the training steps until the teacher's temperature is reached.
        centring: momentum of the centre that is subtracted from the teacher's outputs, against collapse.
        hidden: width of the head's hidden layers.
        batch_norm: whether the hidden layers have batch normalisation: for encoders without it whose features of
            different images are alike, so that the outputs are, too.
        bottleneck: width of the L2-normalised features before the last layer.
        outputs: number of outputs of the head.
        momentum: initial momentum of the teacher; increased to 1 by a cosine schedule.
    """

    augment: PolicyConfig
    second: PolicyConfig
    local: PolicyConfig
    local_views: NonNegativeCount = 2
    temperature: Positive = 0.1
    teacher_temperature: Positive = 0.07
    first_teacher_temperature: Positive = 0.04
    temperature_warmup: Fraction = 0.3
    centring: Fraction = 0.9
    hidden: Count = 256
    batch_norm: bool = False
    bottleneck: Count = 64
    outputs: Count = 512
    momentum: Fraction = 0.99

    def temperature_at(self, progress: float) -> float:
        """The teacher's temperature; `progress` is the fraction of training in [0, 1)."""
        if progress >= self.temperature_warmup:
            return self.teacher_temperature
        rise = self.teacher_temperature - self.first_teacher_temperature
        return self.first_teacher_temperature + rise * progress / self.temperature_warmup


class Head(nn.Module):
    """Three layers, L2 normalisation, and a weight-normalised linear layer whose rows have length 1."""

    def __init__(self, width: int, config: Config):
        super().__init__()
        self.layers = ProjectionHead(
            [
                (width, config.hidden, self._normalisation(config), nn.GELU()),
                (config.hidden, config.hidden, self._normalisation(config), nn.GELU()),
                (config.hidden, config.bottleneck, None, None),
            ]
        )
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.directions = nn.Linear(config.bottleneck, config.outputs, bias=False)

    @staticmethod
    def _normalisation(config: Config) -> nn.Module | None:
        return nn.BatchNorm1d(config.hidden) if config.batch_norm else None

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, width] to outputs [B, outputs], in at least float32, as low temperatures amplify errors."""
        bottleneck = self.layers(features)
        with torch.autocast(features.device.type, enabled=False):
            directions = F.normalize(self.directions.weight)
            return F.linear(F.normalize(bottleneck.to(directions.dtype)), directions)


class CentredLoss(DINOLoss):  # type: ignore[misc]
    """lightly's loss, with the centre updated after the step, in `update`."""

    outputs: Tensor | None = None

    def update_center(self, teacher_out: Tensor) -> None:
        """Store the outputs [views, B, outputs] until `update`."""
        self.outputs = teacher_out

    def update(self) -> None:
        """Update the centre with the mean of the outputs of all processes."""
        super().update_center(self.outputs)
        self.outputs = None


class DINO(EncoderMethod):
    """The student (encoder and head), and the teacher, its momentum copy, whose encoder is kept."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment, self.local = (Policy(config.augment), Policy(config.second)), Policy(config.local)
        self.head = Head(encoder.width, config)
        self.teacher = MomentumNetwork(encoder, self.head)
        self.centred = CentredLoss(config.outputs, student_temp=config.temperature, center_momentum=config.centring)
        self._progress = 0.0

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the student's outputs for each view with the teacher's for each other global view."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        large = [policy(images, draw.stream(f"view-{number}")) for number, policy in enumerate(self.augment, 1)]
        small = [self.local(images, draw.stream(f"local-{number}")) for number in range(self.config.local_views)]
        teacher = by_size(self.teacher, large).chunk(2)  # [B, outputs] each
        student = self.head(by_size(self.encoder, [*large, *small])).chunk(2 + len(small))
        self._progress = batch.progress
        temperature = self.config.temperature_at(batch.progress)
        with torch.autocast(images.device.type, enabled=False):
            return Losses(self.centred(list(teacher), list(student), temperature))

    def after_step(self) -> None:
        """Update the teacher and the centre."""
        momentum = cosine_momentum(self.config.momentum, self._progress)
        self.teacher.update(self.encoder, self.head, momentum=momentum)
        self.centred.update()

    def finish(self, streams: Mapping[str, Stream]) -> None:
        """Keep the teacher's encoder, which the paper evaluates: it is better than the student's all along."""
        self.encoder.load_state_dict(self.teacher.copies[0].state_dict())
