"""DINO: self-distillation; a student predicts the outputs of its momentum teacher for other views.

Caron, Touvron, Misra, Jégou, Mairal, Bojanowski, Joulin. Emerging Properties in Self-Supervised Vision Transformers.
ICCV 2021.
"""

import torch
import torch.nn.functional as F
from lightly.loss import DINOLoss
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.momentum import MomentumNetwork, cosine_momentum
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegativeCount, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """DINO's parameters.

    Attributes:
        augment: augmentation policy of the two global views.
        small: policy applied after `augment` to make a local view (multi-crop).
        smalls: number of local views.
        temperature: of the student's softmax.
        teacher_temperature: of the teacher's softmax; lower than the student's (sharpening).
        centring: momentum of the centre that is subtracted from the teacher's outputs, against collapse.
        hidden: width of the head's hidden layers.
        bottleneck: width of the L2-normalised features before the last layer.
        outputs: number of outputs of the head.
        momentum: initial momentum of the teacher; increased to 1 by a cosine schedule.
    """

    augment: PolicyConfig
    small: PolicyConfig = ()
    smalls: NonNegativeCount = 2
    temperature: Positive = 0.1
    teacher_temperature: Positive = 0.04
    centring: Fraction = 0.9
    hidden: Count = 256
    bottleneck: Count = 64
    outputs: Count = 512
    momentum: Fraction = 0.99


class Head(nn.Module):
    """Three layers, L2 normalisation, and a weight-normalised linear layer."""

    def __init__(self, width: int, config: Config):
        super().__init__()
        self.layers = ProjectionHead(
            [
                (width, config.hidden, None, nn.GELU()),
                (config.hidden, config.hidden, None, nn.GELU()),
                (config.hidden, config.bottleneck, None, None),
            ]
        )
        self.directions = nn.Linear(config.bottleneck, config.outputs, bias=False)

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
    """The student (encoder and head), and the teacher, its momentum copy."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment, self.shrink = Policy(config.augment), Policy(config.small)
        self.head = Head(encoder.width, config)
        self.teacher = MomentumNetwork(encoder, self.head)
        self.centred = CentredLoss(
            config.outputs,
            teacher_temp=config.teacher_temperature,
            student_temp=config.temperature,
            center_momentum=config.centring,
        )
        self._progress = 0.0

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the student's outputs for each view with the teacher's for each other global view."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        large = torch.cat([self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2)])
        teacher = self.teacher(large).chunk(2)  # [B, outputs] each
        student = list(self.head(self.encoder(large)).chunk(2))
        for number in range(self.config.smalls):
            of_small = draw.stream(f"small-{number}")
            small = self.shrink(self.augment(images, of_small.stream("view")), of_small)
            student.append(self.head(self.encoder(small)))
        self._progress = batch.progress
        with torch.autocast(images.device.type, enabled=False):
            return Losses(self.centred(list(teacher), student))

    def after_step(self) -> None:
        """Update the teacher and the centre."""
        momentum = cosine_momentum(self.config.momentum, self._progress)
        self.teacher.update(self.encoder, self.head, momentum=momentum)
        self.centred.update()
