"""Colour classes: the a and b channels of CIELAB, quantised to the bins within the sRGB gamut.

Zhang, Isola, Efros. Colorful Image Colorization. ECCV 2016, sections 2.1 and 2.2.
"""

import torch
from torch import Tensor, nn

from repflow.augment.color_spaces import rgb_to_lab
from repflow.hardware.portable_math import distances

NEIGHBOURS = 5
"""Number of nearest bins in the soft encoding of a colour."""


class Gamut(nn.Module):
    """The bins of a grid over a and b that contain sRGB colours.

    Args:
        grid: side length of a bin; with the paper's 10 there are 261 (the paper counts 313, without saying how).
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
        """Soft encoding: Gaussian weights over each colour's nearest bins, with a standard deviation of half a bin.

        Args:
            colours: a and b, [B, 2, H, W].

        Returns:
            [B, Q, H, W], summing to 1 over Q.
        """
        flat = colours.movedim(1, -1).flatten(0, 2).to(self.centres)  # [BHW, 2]
        near = distances(flat, self.centres).topk(NEIGHBOURS, largest=False)
        weights = (-near.values.square() / (2 * self.spread**2)).softmax(dim=1)  # [BHW, 5]
        shares = weights.new_zeros(len(flat), len(self)).scatter_(1, near.indices, weights)
        soft: Tensor = shares.unflatten(0, (len(colours), *colours.shape[2:])).movedim(-1, 1)
        return soft

    def annealed_mean(self, logits: Tensor, temperature: float) -> Tensor:
        """Decode logits [B, Q, H, W] to colours [B, 2, H, W]: the mean at temperature 1, towards 0 the mode."""
        return torch.einsum("bqhw,qc->bchw", (logits / temperature).softmax(dim=1), self.centres)

    def rebalancing(self, shares: Tensor, uniform: float) -> Tensor:
        """Class-rebalancing weights [Q], larger for rare colours, with mean 1 over pixels.

        Args:
            shares: relative frequencies of the bins among all pixels, [Q].
            uniform: weight of a uniform distribution that is mixed in, in [0, 1]; with 1 there is no rebalancing.
        """
        kernel = (-distances(self.centres, self.centres).square() / (2 * self.spread**2)).exp()
        smooth = kernel @ shares
        smooth = smooth / smooth.sum()
        weights = 1 / ((1 - uniform) * smooth + uniform / len(self))
        return weights / (smooth * weights).sum()
