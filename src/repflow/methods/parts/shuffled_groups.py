"""Batch normalisation by groups of a shuffled batch, which does not give away which key belongs to which query.

He, Fan, Wu, Xie, Girshick. Momentum Contrast for Unsupervised Visual Representation Learning. CVPR 2020, section 3.3.
"""

import math
from collections.abc import Callable

import torch
from lightly.utils.dist import rank, world_size
from torch import Tensor

from repflow.methods.parts.distributed import gathered
from repflow.randomness.draws import Draw


def global_batch(rows: Tensor) -> Tensor:
    """The rows of all processes in the order of the global batch: [B, ...] to [ranks x B, ...], without gradients.

    Every process must have the same B; process r holds the rows r, r + ranks, r + 2 ranks, ...
    """
    return gathered(rows).view(-1, *rows.shape).transpose(0, 1).flatten(0, 1)


def in_groups(network: Callable[[Tensor], Tensor], images: Tensor, groups: int) -> Tensor:
    """Pass images through a network in groups, each with batch statistics of its own.

    Group g is the g-th part of the global batch, however many processes share it. Where `groups` does not divide the
    images of a process, their greatest common divisor is taken.

    Args:
        network: images [n, C, H, W] to outputs [n, width].
        images: [B, C, H, W].
        groups: how many groups of equal size.

    Returns:
        The outputs, in the order of the images: [B, width].
    """
    return torch.cat([network(part) for part in images.chunk(math.gcd(groups, len(images)))])


@torch.no_grad()
def in_shuffled_groups(network: Callable[[Tensor], Tensor], images: Tensor, groups: int, draw: Draw) -> Tensor:
    """As `in_groups`, with groups of the shuffled global batch, and without gradients.

    Args:
        network: images [n, C, H, W] to outputs [n, width].
        images: [B, C, H, W].
        groups: how many groups of equal size.
        draw: random numbers for the order.

    Returns:
        The outputs, in the order of the images: [B, width].
    """
    everyone = global_batch(images)
    order = draw.permutation(len(everyone)).to(images.device)
    mine = slice(rank(), None, world_size())
    outputs = global_batch(in_groups(network, everyone[order][mine], groups))
    return outputs[order.argsort()][mine]
