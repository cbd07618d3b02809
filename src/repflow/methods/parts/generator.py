"""A DCGAN-like generator: latent codes to images.

Radford, Metz, Chintala. Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks.
ICLR 2016; with nearest-neighbour upsampling and convolutions in place of transposed ones (Odena et al., Distill 2016).
"""

import itertools
import math

import torch.nn.functional as F
from torch import Tensor, nn


class Generator(nn.Module):
    """Codes [B, codes] to images [B, channels, *size] in [0, 1], of any size.

    Args:
        codes: dimension of a latent code.
        stages: channels at 4x4 pixels, and after every doubling of height and width except the last.
        channels: of the images.
    """

    def __init__(self, codes: int, stages: tuple[int, ...], channels: int):
        super().__init__()
        self.seed = nn.Linear(codes, stages[0] * 16, bias=False)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False) for inputs, outputs in itertools.pairwise(stages)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in stages)
        self.last = nn.Conv2d(stages[-1], channels, 3, padding=1)

    def forward(self, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """The images; `size` is their height and width."""
        maps = F.relu(self.norms[0](self.seed(codes).unflatten(1, (-1, 4, 4))))
        doublings = len(self.convolutions)
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms[1:], strict=True)):
            stage = [math.ceil(side / 2 ** (doublings - number)) for side in size]
            maps = F.relu(norm(convolution(F.interpolate(maps, stage))))
        images: Tensor = self.last(F.interpolate(maps, list(size))).sigmoid()
        return images
