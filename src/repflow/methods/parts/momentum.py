"""Momentum encoders: exponential moving averages of networks, as slowly changing targets.

He, Fan, Wu, Xie, Girshick. Momentum Contrast for Unsupervised Visual Representation Learning. CVPR 2020; the schedule
of Grill et al. Bootstrap Your Own Latent. NeurIPS 2020.
"""

import copy
import math

import torch
from lightly.models.utils import update_momentum
from torch import Tensor, nn


class MomentumNetwork(nn.Module):
    """A moving average of a sequence of modules, such as an encoder and a projection head.

    Its parameters have no gradients; they change in `update` only.

    Args:
        modules: copied with their current weights; the first one takes the images.
    """

    def __init__(self, *modules: nn.Module):
        super().__init__()
        self.copies = nn.Sequential(*copy.deepcopy(modules)).requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """The output of the last module for images [B, C, H, W]."""
        outputs: Tensor = self.copies(images)
        return outputs

    @torch.no_grad()
    def update(self, *modules: nn.Module, momentum: float) -> None:
        """Update every parameter θ' towards the parameter θ of `modules`: θ' ← m θ' + (1 - m) θ."""
        for module, slow in zip(modules, self.copies, strict=True):
            update_momentum(module, slow, m=momentum)


def cosine_momentum(base: float, progress: float) -> float:
    """Cosine schedule of the momentum, from `base` to 1; `progress` is the fraction of training in [0, 1)."""
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2
