"""Bodies of discriminators: features of whole images, and a score per patch.

Miyato, Kataoka, Koyama, Yoshida. Spectral Normalization for Generative Adversarial Networks. ICLR 2018. Isola, Zhu,
Zhou, Efros. Image-to-Image Translation with Conditional Adversarial Networks. CVPR 2017.
"""

from torch import Tensor, nn

from repflow.encoders import Encoder
from repflow.encoders.convolutional import SmallConfig, small

SLOPE = 0.2
"""Of LeakyReLU below 0, in all discriminators (Radford et al., ICLR 2016)."""


def image_features(stages: tuple[int, ...], channels: int, spectral: bool) -> Encoder:
    """Images [B, channels, H, W] in [0, 1] to the discriminator's features [B, stages[-1]].

    Args:
        stages: channels of the stages, each of which halves height and width, laid out as the encoder `small`.
        channels: of the images.
        spectral: for layers that will be normalised spectrally: activations are not normalised, rectifiers leak, and
            the last maps are summed (Miyato et al.), as their mean is small. Otherwise it is the encoder `small`.
    """
    if not spectral:
        body, width = small(SmallConfig(widths=stages), channels)
        return Encoder(body, width, channels)
    first, *others = stages
    layers: list[nn.Module] = [nn.Conv2d(channels, first, 5, stride=2, padding=2), nn.LeakyReLU(SLOPE, inplace=True)]
    for before, after in zip(stages, others, strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
        layers += [nn.Conv2d(after, after, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
    return Encoder(nn.Sequential(*layers, _Sum()), stages[-1], channels)


class _Sum(nn.Module):
    """The sum over all positions."""

    def forward(self, maps: Tensor) -> Tensor:
        """Features [B, C] of maps [B, C, h, w]."""
        return maps.sum(dim=(2, 3))


class PatchDiscriminator(nn.Module):
    """Images [B, channels, H, W] to a score per patch, high for real images: [B, 1, h, w].

    Group normalisation in place of the paper's batch normalisation, so that scores do not depend on the batch.

    Args:
        channels: of the images.
        stages: channels of the stages, each of which halves height and width.
    """

    def __init__(self, channels: int, stages: tuple[int, ...]):
        super().__init__()
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(zip((channels, *stages[:-1]), stages, strict=True)):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1)]
            layers += [nn.GroupNorm(1, after)] if number else []
            layers += [nn.LeakyReLU(SLOPE, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(stages[-1], 1, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        """The scores."""
        scores: Tensor = self.layers(images)
        return scores
