"""Momentum encoders: copies of networks that follow them slowly, and give targets that change slowly.

He, Fan, Wu, Xie, Girshick. Momentum Contrast for Unsupervised Visual Representation Learning. CVPR 2020; the schedule
of Grill et al. Bootstrap Your Own Latent. NeurIPS 2020.
"""

import copy
import math

import torch
from lightly.models.utils import update_momentum
from torch import Tensor, nn


class MomentumNetwork(nn.Module):
    """Slow copies of modules that feed one another, such as an encoder and a projection head.

    Nothing in it learns: its parameters have no gradients, and move in `follow` alone.

    Args:
        modules: that are copied as they are, the first one takes the images.
    """

    def __init__(self, *modules: nn.Module):
        super().__init__()
        self.copies = nn.Sequential(*copy.deepcopy(modules)).requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """What the last module makes of images [B, C, H, W]."""
        outputs: Tensor = self.copies(images)
        return outputs

    @torch.no_grad()
    def follow(self, *modules: nn.Module, momentum: float) -> None:
        """Move every parameter θ' towards θ, that of `modules`: to m θ' + (1 - m) θ."""
        for module, slow in zip(modules, self.copies, strict=True):
            update_momentum(module, slow, m=momentum)


def cosine_momentum(base: float, progress: float) -> float:
    """The momentum at `progress`, a share of training in [0, 1): from `base` up to 1 along half a cosine."""
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2
