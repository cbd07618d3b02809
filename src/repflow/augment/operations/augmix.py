"""AugMix: a convex combination of the image and of several short chains of weak operations.

Hendrycks, Mu, Cubuk, Zoph, Gilmer, Lakshminarayanan. AugMix: A Simple Data Processing Method to Improve Robustness and
Uncertainty. ICLR 2020.
"""

from typing import Literal

import torch
from torch import Tensor

from repflow.augment.masked_choice import apply_by_name_masked
from repflow.augment.operation import Fractions, Operation, Params, Shape
from repflow.augment.per_sample import per_image, to_device
from repflow.augment.strength import Limits, Name, Names, apply_by_name
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters

WITHOUT_COLOUR: tuple[Name, ...] = (
    "autocontrast",
    "equalise",
    "posterise",
    "rotate",
    "solarise",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
"""The paper's list, without the operations that overlap with ImageNet-C's corruptions."""


@parameters
class AugMix(Operation):
    """Chains of operations, mixed with each other and with the image.

    The weights of the chains are drawn from Dirichlet(1, …, 1) and the image's weight from Beta(1, 1), the paper's
    defaults.

    Attributes:
        chains: number of chains (the paper's width).
        depth: maximum number of operations in a chain, drawn from 1 to `depth`.
        strength: range of the strength, drawn for each operation. The paper's severity S of 10 is [0.01, S / 10].
        choices: operations to draw from.
        fill: value of pixels from outside the image.
    """

    op: Literal["augmix"] = "augmix"
    chains: Count = 3
    depth: Count = 3
    strength: Fractions = (0.01, 0.3)
    choices: Names = WITHOUT_COLOUR
    fill: Fraction = 0.5

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw the weights, and the operation, strength and direction of each step of each chain."""
        exponential = -draw.uniform(count, self.chains).clamp(min=1e-12).log()
        weights = exponential / exponential.sum(dim=1, keepdim=True)  # Dirichlet(1, ..., 1)
        original = draw.uniform(count)
        depth = draw.integers(count, self.chains, low=1, high=self.depth + 1)
        choice = draw.integers(count, self.chains, self.depth, high=len(self.choices))
        strength = draw.uniform(count, self.chains, self.depth, low=self.strength[0], high=self.strength[1])
        direction = 2.0 * draw.integers(count, self.chains, self.depth, high=2) - 1
        return weights * (1 - original)[:, None], original, depth, choice, strength, direction

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply the chains and mix."""
        weights, original, depth, choice, strength, direction = params
        names, limits = (*self.choices, "identity"), self._limits
        mixed = images * to_device(original, images).view(-1, 1, 1, 1)
        for chain in range(self.chains):
            changed = images
            for place in range(self.depth):
                over = depth[:, chain] <= place
                chosen = choice[:, chain, place].masked_fill(over, len(names) - 1)
                here = (slice(None), chain, place)
                changed = apply_by_name(changed, names, chosen, strength[here], direction[here], limits)
            mixed.addcmul_(changed, to_device(weights[:, chain], images).view(-1, 1, 1, 1))
        return mixed

    def transform_masked(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply all chains at once, as if they were more images, and mix."""
        weights, original, depth, choice, strength, direction = params
        names = (*self.choices, "identity")
        over = depth[..., None] <= torch.arange(self.depth, device=depth.device)  # [B, chains, depth]
        steps = (choice.masked_fill(over, len(names) - 1), strength, direction)
        changed = images.repeat_interleave(self.chains, dim=0)  # [B x chains, C, H, W]
        for which, how_far, where_to in zip(*(each.flatten(0, 1).unbind(1) for each in steps), strict=True):
            changed = apply_by_name_masked(changed, names, which, how_far, where_to, self._limits)
        chains: Tensor = changed.unflatten(0, (-1, self.chains)) * weights[..., None, None, None]
        return chains.sum(dim=1).addcmul_(images, per_image(original, images))

    @property
    def _limits(self) -> Limits:
        return Limits(shift=1 / 3, bits=(4, 0), fill=self.fill)
