"""BiGAN: train encoder and generator adversarially against a discriminator of (image, latent code) pairs.

Donahue, Krähenbühl, Darrell. Adversarial Feature Learning. ICLR 2017.
"""

import torch
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts import spectral_normalisation
from repflow.methods.parts.adversarial_losses import discriminator_accuracy, discriminator_loss
from repflow.methods.parts.discriminator import SLOPE, image_features
from repflow.methods.parts.generator import Generator
from repflow.randomness.draws import Draw
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses, Update


@parameters
class Config:
    """BiGAN's parameters.

    Attributes:
        augment: augmentation policy of the real images.
        codes: dimension of the latent codes, drawn uniformly from [-1, 1].
        generator: channels of the generator's stages, the first at 4x4 pixels, each doubling height and width.
        discriminator: channels of its stages, as in the encoder `small`.
        hidden: width of the discriminator's joint layer of image and code.
        spectral: whether all weights of the discriminator are normalised spectrally (Miyato et al., ICLR 2018), not its
            activations by groups.
    """

    augment: PolicyConfig = ()
    codes: Count = 50
    generator: tuple[Count, ...] = (128, 64, 32)
    discriminator: tuple[Count, ...] = (32, 64, 128)
    hidden: Count = 256
    spectral: bool = False


class Discriminator(nn.Module):
    """Logits of pairs, high for real images with encoded codes, low for generated images with random codes."""

    def __init__(self, config: Config, channels: int):
        super().__init__()
        self.image = image_features(config.discriminator, channels, config.spectral)
        inputs = self.image.width + config.codes
        self.together = nn.Sequential(
            nn.Linear(inputs, config.hidden), nn.LeakyReLU(SLOPE), nn.Linear(config.hidden, 1)
        )

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Scores [B] of images [B, C, H, W] and codes [B, codes]."""
        scores: Tensor = self.together(torch.cat([self.image(images), codes], dim=1))[:, 0]
        return scores


class BiGAN(EncoderMethod):
    """Encoder with a linear layer to latent codes, and generator, against a discriminator of pairs."""

    streams = ("unlabelled",)
    columns = ("image", "generated from its code")
    discriminator: nn.Module

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        channels = len(encoder.mean)
        self.to_codes = nn.Linear(encoder.width, config.codes)
        self.generator = Generator(config.codes, config.generator, channels)
        self.discriminator = self.new_discriminator(config, channels)
        if config.spectral:
            spectral_normalisation.normalise(self.discriminator)

    @staticmethod
    def new_discriminator(config: Config, channels: int) -> nn.Module:
        """The discriminator of images with so many channels."""
        return Discriminator(config, channels)

    def after_step(self) -> None:
        """One power iteration, as the discriminator's weights have changed."""
        spectral_normalisation.iterate(self.discriminator)

    @property
    def updates(self) -> tuple[Update, ...]:
        """First the discriminator, then encoder and generator together."""
        joint = (self.encoder, self.to_codes, self.generator)
        return (Update(self.discriminate, (self.discriminator,)), Update(self.generate_and_encode, joint))

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """The discriminator's loss."""
        encoded, decoded = self.scores(batch, draw)
        loss = discriminator_loss(encoded, decoded)
        return Losses(loss, {"discriminator": loss, "discriminator_accuracy": discriminator_accuracy(encoded, decoded)})

    def generate_and_encode(self, batch: Batches, draw: Draw) -> Losses:
        """The loss of encoder and generator: the discriminator's with exchanged labels, which does not saturate."""
        encoded, decoded = self.scores(batch, draw)
        loss = discriminator_loss(decoded, encoded)
        return Losses(loss, {"encoder_and_generator": loss})

    def scores(self, batch: Batches, draw: Draw) -> tuple[Tensor, Tensor]:
        """Logits of images with encoded codes, and of generated images with random codes: [B] each."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        codes = self.draw_codes(len(images), draw)  # [B, codes]
        encoded = self.discriminator(images, self.encode(images, draw))
        return encoded, self.discriminator(self.generator(codes, images.shape[2:]), codes)

    def encode(self, images: Tensor, draw: Draw) -> Tensor:
        """Latent codes [B, codes] of images [B, C, H, W], within the range of random ones as in the authors' code: a
        discriminator would know all others at once."""
        logits: Tensor = self.to_codes(self.encoder(images))
        return (logits / 2).tanh()

    def draw_codes(self, count: int, draw: Draw) -> Tensor:
        """Random latent codes [count, codes]."""
        return draw.stream("codes").uniform(count, self.config.codes, low=-1.0, high=1.0)

    def sample(self, count: int, size: tuple[int, ...], draw: Draw) -> Tensor:
        """Generated images [count, C, *size] in [0, 1]."""
        generated: Tensor = self.generator(self.draw_codes(count, draw), size)
        return generated

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], and images generated from their codes: [B, 2, C, H, W]."""
        codes = self.encode(images, Draw(0, "pictures", device=images.device))
        return torch.stack([images, self.generator(codes, images.shape[2:])], dim=1)
