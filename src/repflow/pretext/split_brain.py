"""Split-brain autoencoder: each half of the encoder foretells what only the other half sees.

Zhang, Isola, Efros. Split-Brain Autoencoders: Unsupervised Learning by Cross-Channel Prediction. CVPR 2017.
"""

import torch.nn.functional as F
from torch import Tensor

from repflow.augment import Policy, PolicyConfig
from repflow.data.batches import Batches
from repflow.draw import Draw
from repflow.encoders import Encoder
from repflow.encoders.decoder import Decoder
from repflow.encoders.split import SplitEncoder, split_lab
from repflow.errors import ParameterError
from repflow.method import EncoderMethod, Losses
from repflow.schema import Count, parameters


@parameters
class Config:
    """The parameters of the split-brain autoencoder.

    Attributes:
        augment: the policy that makes the image.
        decoder: channels of the decoders' stages, each of twice the height and width of the one before.
        side: height and width of what is foretold; the image is made smaller for it.
    """

    augment: PolicyConfig = ()
    decoder: tuple[Count, ...] = (64, 32)
    side: Count = 16


class SplitBrain(EncoderMethod):
    """Two half-encoders, each below a decoder to the other's channels."""

    streams = ("unlabelled",)
    encoder: SplitEncoder

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        if not isinstance(encoder, SplitEncoder):
            raise ParameterError("encoder: split_brain needs one of two halves, as in conf/pretrain/split_brain.yaml")
        self.config = config
        self.augment = Policy(config.augment)
        self.to_colour = Decoder(encoder.width // 2, config.decoder, channels=2)
        self.to_lightness = Decoder(encoder.width // 2, config.decoder, channels=1)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Squared errors of the colour foretold from the lightness, and the other way round."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, 3, H, W]
        lightness, colour = split_lab(images)  # [B, 1, H, W] and [B, 2, H, W]
        of_lightness, of_colour = self.encoder.halves((lightness, colour))  # [B, width / 2] each
        colour_error = self.error(self.to_colour, of_lightness, colour)
        lightness_error = self.error(self.to_lightness, of_colour, lightness)
        return Losses(colour_error + lightness_error, {"colour": colour_error, "lightness": lightness_error})

    def error(self, decoder: Decoder, features: Tensor, wanted: Tensor) -> Tensor:
        """Mean squared error of the decoded features."""
        small = F.adaptive_avg_pool2d(wanted, self.config.side)
        return F.mse_loss(decoder(features, small.shape[2:]), small)
