"""Who tells real images from made ones, patch by patch.

Isola, Zhu, Zhou, Efros. Image-to-Image Translation with Conditional Adversarial Networks. CVPR 2017.
"""

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Images [B, channels, H, W] to a score of each of their patches, high for real: [B, 1, h, w].

    Group normalisation where the paper has batch normalisation, so that an image's scores do not depend on its batch.

    Args:
        channels: of the images.
        stages: channels, each stage of half the height and width of the one before.
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
