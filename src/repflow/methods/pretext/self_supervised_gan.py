"""Self-supervised GAN: a discriminator that also tells by how many quarter turns an image was rotated.

Chen, Zhai, Ritter, Lucic, Houlsby. Self-Supervised GANs via Auxiliary Rotation Loss. CVPR 2019.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.encoders import Encoder
from repflow.methods.pretext import gan
from repflow.schema import Fraction, NonNegative, parameters
from repflow.training.contract import Losses, Update


@parameters
class Config(gan.Config):
    """The GAN's parameters, and those of the rotations.

    Attributes:
        turned: share of a batch that is rotated, each image by all four turns; at least one image.
        discriminator_weight: of the loss of rotated real images, from which the discriminator learns to tell them.
        generator_weight: of the loss of rotated made images, which the generator lowers.
    """

    turned: Fraction = 0.25
    discriminator_weight: NonNegative = 1.0
    generator_weight: NonNegative = 0.2


class SelfSupervisedGAN(gan.GAN):
    """A GAN whose discriminator has a second linear layer. The two players work together on the rotations."""

    config: Config

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(config, encoder)
        self.rotation_head = nn.Linear(encoder.width, 4)

    @property
    def updates(self) -> tuple[Update, ...]:
        """As of a GAN."""
        discriminator = (self.encoder, self.head, self.rotation_head)
        return (Update(self.discriminate, discriminator), Update(self.generate, (self.generator,)))

    def tell_apart(self, images: Tensor, made: Tensor) -> Losses:
        """Upright images are told apart, and rotations of real ones told."""
        game, (rotation, accuracy) = super().tell_apart(images, made), self.rotation(images)
        total = game.total + self.config.discriminator_weight * rotation
        return Losses(total, {**game.metrics, "rotation": rotation, "accuracy": accuracy})

    def deceive(self, made: Tensor) -> Losses:
        """Made images should look real, and show which way is up."""
        game, (rotation, _) = super().deceive(made), self.rotation(made)
        return Losses(game.total + self.config.generator_weight * rotation, {**game.metrics, "made_rotation": rotation})

    def rotation(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy of telling the turns of the first images of a batch [B, C, H, W]."""
        some = images[: max(1, round(self.config.turned * len(images)))]  # [R, C, H, W]
        views = torch.cat([some.rot90(turns, (2, 3)) for turns in range(4)])  # [4R, C, H, W]
        turns = torch.arange(4, device=views.device).repeat_interleave(len(some))
        logits = self.rotation_head(self.encoder(views))  # [4R, 4]
        return F.cross_entropy(logits, turns), (logits.argmax(1) == turns).float().mean()
