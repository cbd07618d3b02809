"""BiGAN: an encoder and a generator that a discriminator of pairs of image and code cannot tell apart.

Donahue, Krähenbühl, Darrell. Adversarial Feature Learning. ICLR 2017.
"""

import torch
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.encoders.convolutional import SmallConfig, small
from repflow.methods.parts.game import tell_apart, told_apart
from repflow.methods.parts.generator import Generator
from repflow.randomness.draws import Draw
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses, Update


@parameters
class Config:
    """BiGAN's parameters.

    Attributes:
        augment: the policy that the real images go through.
        codes: width of the codes, which are drawn evenly from [-1, 1].
        generator: channels of its stages, from 4x4 pixels on, each of twice the height and width of the one before.
        discriminator: channels of its stages, as of the encoder `small`.
        hidden: width of the layer in which the discriminator brings image and code together.
    """

    augment: PolicyConfig = ()
    codes: Count = 50
    generator: tuple[Count, ...] = (128, 64, 32)
    discriminator: tuple[Count, ...] = (32, 64, 128)
    hidden: Count = 256


class Discriminator(nn.Module):
    """How much a pair looks like a real image with its code, and not like a code with the image made of it."""

    def __init__(self, config: Config, channels: int):
        super().__init__()
        body, width = small(SmallConfig(widths=config.discriminator), channels)
        self.image = Encoder(body, width, channels)
        self.together = nn.Sequential(
            nn.Linear(width + config.codes, config.hidden), nn.LeakyReLU(0.2), nn.Linear(config.hidden, 1)
        )

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Scores [B] of images [B, C, H, W] and codes [B, codes]."""
        scores: Tensor = self.together(torch.cat([self.image(images), codes], dim=1))[:, 0]
        return scores


class BiGAN(EncoderMethod):
    """The encoder below a linear layer to codes, and a generator, against the discriminator of pairs."""

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
        self.discriminator = Discriminator(config, channels)

    @property
    def updates(self) -> tuple[Update, ...]:
        """The discriminator learns first, then encoder and generator together."""
        together = (self.encoder, self.to_codes, self.generator)
        return (Update(self.discriminate, (self.discriminator,)), Update(self.agree, together))

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """An image with its code should score high, a code with its image low."""
        encoded, decoded = self.scores(batch, draw)
        loss = tell_apart(encoded, decoded)
        return Losses(loss, {"discriminator": loss, "told_apart": told_apart(encoded, decoded)})

    def agree(self, batch: Batches, draw: Draw) -> Losses:
        """The same with the two kinds of pair exchanged, whose gradient does not vanish."""
        encoded, decoded = self.scores(batch, draw)
        loss = tell_apart(decoded, encoded)
        return Losses(loss, {"encoder_and_generator": loss})

    def scores(self, batch: Batches, draw: Draw) -> tuple[Tensor, Tensor]:
        """Of images with the encoder's codes, and of codes with the generator's images: [B] each."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        codes = self.draw_codes(len(images), draw)  # [B, codes]
        encoded = self.discriminator(images, self.encode(images, draw))
        return encoded, self.discriminator(self.generator(codes, images.shape[2:]), codes)

    def encode(self, images: Tensor, draw: Draw) -> Tensor:
        """The encoder's codes [B, codes] of images [B, C, H, W]."""
        codes: Tensor = self.to_codes(self.encoder(images))
        return codes

    def draw_codes(self, count: int, draw: Draw) -> Tensor:
        """Random codes [count, codes]."""
        return draw.stream("codes").uniform(count, self.config.codes, low=-1.0, high=1.0)

    def sample(self, count: int, size: tuple[int, ...], draw: Draw) -> Tensor:
        """Made images [count, C, *size] in [0, 1]."""
        made: Tensor = self.generator(self.draw_codes(count, draw), size)
        return made

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], and what is generated from their codes: [B, 2, C, H, W]."""
        codes = self.encode(images, Draw(0, "pictures", device=images.device))
        return torch.stack([images, self.generator(codes, images.shape[2:])], dim=1)
