"""Colours as classes: the a and b of CIELAB in bins, of which a screen can show some hundreds.

Zhang, Isola, Efros. Colorful Image Colorization. ECCV 2016, sections 2.1 and 2.2.
"""

import torch
from torch import Tensor, nn

from repflow.augment.color_spaces import rgb_to_lab
from repflow.hardware.portable_math import distances

NEIGHBOURS = 5
"""Bins among which a colour is shared."""


class Gamut(nn.Module):
    """The bins of a grid over a and b that hold colours in sRGB.

    Args:
        grid: side of a bin; at the paper's 10 there are 261 (the paper, which does not say how it counts, has 313).
    """

    centres: Tensor
    """[Q, 2]."""

    def __init__(self, grid: float):
        super().__init__()
        level = torch.linspace(0, 1, 65)
        cube = torch.cartesian_prod(level, level, level).T[None, :, :, None]  # [1, 3, N, 1]
        colours = rgb_to_lab(cube)[0, 1:, :, 0].T  # [N, 2]
        self.spread = grid / 2
        self.register_buffer("centres", (colours / grid).round().unique(dim=0) * grid)

    def __len__(self) -> int:
        return len(self.centres)

    def shares(self, colours: Tensor) -> Tensor:
        """Soft encoding: each colour shared among its nearest bins by a Gaussian of half a bin.

        Args:
            colours: a and b, [B, 2, H, W].

        Returns:
            [B, Q, H, W], sums of 1.
        """
        flat = colours.movedim(1, -1).flatten(0, 2).to(self.centres)  # [BHW, 2]
        near = distances(flat, self.centres).topk(NEIGHBOURS, largest=False)
        weights = (-near.values.square() / (2 * self.spread**2)).softmax(dim=1)  # [BHW, 5]
        shares = weights.new_zeros(len(flat), len(self)).scatter_(1, near.indices, weights)
        soft: Tensor = shares.unflatten(0, (len(colours), *colours.shape[2:])).movedim(-1, 1)
        return soft

    def annealed_mean(self, logits: Tensor, temperature: float) -> Tensor:
        """The colour [B, 2, H, W] of logits [B, Q, H, W]: at temperature 1 their mean, towards 0 their mode."""
        return torch.einsum("bqhw,qc->bchw", (logits / temperature).softmax(dim=1), self.centres)

    def rebalancing(self, shares: Tensor, uniform: float) -> Tensor:
        """Weights [Q] that let rare colours count, of mean 1 over pixels.

        Args:
            shares: of the bins among all pixels, [Q], a sum of 1.
            uniform: how much of an even distribution to mix in, in [0, 1]; at 1 all weigh the same.
        """
        kernel = (-distances(self.centres, self.centres).square() / (2 * self.spread**2)).exp()
        smooth = kernel @ shares
        smooth = smooth / smooth.sum()
        weights = 1 / ((1 - uniform) * smooth + uniform / len(self))
        return weights / (smooth * weights).sum()
