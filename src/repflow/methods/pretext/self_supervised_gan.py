"""Self-supervised GAN: a GAN whose discriminator also predicts image rotations.

Chen, Zhai, Ritter, Lucic, Houlsby. Self-Supervised GANs via Auxiliary Rotation Loss. CVPR 2019.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.encoders import Encoder
from repflow.methods.parts import spectral_normalisation
from repflow.methods.pretext import gan
from repflow.schema import Fraction, NonNegative, parameters
from repflow.training.contract import Losses


@parameters
class Config(gan.Config):
    """The GAN's parameters, and those of the rotation loss.

    Attributes:
        turned: fraction of a batch that is rotated, each image by all four angles; at least one image.
        discriminator_weight: weight of the rotation loss on real images in the discriminator's loss.
        generator_weight: weight of the rotation loss on generated images in the generator's loss.
    """

    turned: Fraction = 0.25
    discriminator_weight: NonNegative = 1.0
    generator_weight: NonNegative = 0.2


class SelfSupervisedGAN(gan.GAN):
    """A GAN whose discriminator has a second linear layer; both players minimise the rotation loss."""

    config: Config

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(config, encoder)
        self.rotation_head = nn.Linear(self.trunk.width, 4)
        if config.spectral:
            spectral_normalisation.normalise(self.rotation_head)

    @property
    def discriminator(self) -> tuple[nn.Module, ...]:
        """The discriminator's modules."""
        return self.encoder, self.head, self.rotation_head

    def discriminator_losses(self, images: Tensor, generated: Tensor) -> Losses:
        """The GAN's discriminator loss plus the weighted rotation loss on real images."""
        gan_losses, (rotation, accuracy) = super().discriminator_losses(images, generated), self.rotation(images)
        total = gan_losses.total + self.config.discriminator_weight * rotation
        return Losses(total, {**gan_losses.metrics, "rotation": rotation, "accuracy": accuracy})

    def generator_losses(self, generated: Tensor) -> Losses:
        """The GAN's generator loss plus the weighted rotation loss on generated images."""
        gan_losses, (rotation, _) = super().generator_losses(generated), self.rotation(generated)
        return Losses(
            gan_losses.total + self.config.generator_weight * rotation,
            {**gan_losses.metrics, "made_rotation": rotation},
        )

    def rotation(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy of rotation prediction on the first images of a batch [B, C, H, W]."""
        some = images[: max(1, round(self.config.turned * len(images)))]  # [R, C, H, W]
        views = torch.cat([some.rot90(turns, (2, 3)) for turns in range(4)])  # [4R, C, H, W]
        turns = torch.arange(4, device=views.device).repeat_interleave(len(some))
        logits = self.rotation_head(self.trunk(views))  # [4R, 4]
        return F.cross_entropy(logits, turns), (logits.argmax(1) == turns).float().mean()
