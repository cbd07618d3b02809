"""A patch discriminator: real or generated, one score per patch.

Isola, Zhu, Zhou, Efros. Image-to-Image Translation with Conditional Adversarial Networks. CVPR 2017.
"""

from torch import Tensor, nn


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
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(stages[-1], 1, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        """The scores."""
        scores: Tensor = self.layers(images)
        return scores
