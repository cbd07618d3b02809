"""Spectral normalisation: weights of layers divided by their largest singular value.

Miyato, Kataoka, Koyama, Yoshida. Spectral Normalization for Generative Adversarial Networks. ICLR 2018.

PyTorch's own iterates in every forward pass of training mode, so that a loss depends on the passes before it. Here a
method iterates once per step, in `after_step`.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

_AT_FIRST = 30
"""Iterations on a weight that was not iterated on before."""


class SpectralNormalisation(nn.Module):
    """A weight [outputs, ...] divided by its largest singular value, as a matrix with a row per output.

    The singular vectors are buffers, saved with the weights. They do not depend on images: all processes have the same.

    Args:
        weight: that is normalised.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor):
        super().__init__()
        outputs, inputs = weight.flatten(1).shape
        self.register_buffer("left", F.normalize(torch.randn(outputs).to(weight), dim=0))
        self.register_buffer("right", F.normalize(torch.randn(inputs).to(weight), dim=0))
        self.iterate(weight, _AT_FIRST)

    @torch.no_grad()
    def iterate(self, weight: Tensor, times: int = 1) -> None:
        """Move the singular vectors towards those of the largest singular value of `weight`, by power iterations."""
        matrix = weight.flatten(1)
        for _ in range(times):
            self.left.copy_(F.normalize(matrix @ self.right, dim=0))
            self.right.copy_(F.normalize(matrix.T @ self.left, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight [outputs, ...]; the singular vectors are constants for its gradient."""
        # Products of elements, which mixed precision leaves in single precision.
        products = weight.flatten(1) * self.left[:, None] * self.right
        return weight / products.sum()


def normalise(*modules: nn.Module) -> None:
    """Normalise the weights of all convolutions and linear layers in `modules` spectrally, from now until `fix`."""
    for module in modules:
        for layer in [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]:
            parametrize.register_parametrization(layer, "weight", SpectralNormalisation(layer.weight))


def iterate(*modules: nn.Module, times: int = 1) -> None:
    """Power iterations for all spectrally normalised weights in `modules`; none where there are none."""
    for layer in _normalised(modules):
        weight = layer.get_submodule("parametrizations.weight")
        assert isinstance(weight, parametrize.ParametrizationList)
        normalisation, original = weight[0], weight.original
        assert isinstance(normalisation, SpectralNormalisation)
        assert isinstance(original, Tensor)
        normalisation.iterate(original, times)


def fix(*modules: nn.Module) -> None:
    """Replace the weights in `modules` by their normalised values: plain layers that compute the same."""
    iterate(*modules, times=_AT_FIRST)
    for layer in list(_normalised(modules)):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _normalised(modules: tuple[nn.Module, ...]) -> Iterator[nn.Module]:
    for module in modules:
        yield from (layer for layer in module.modules() if parametrize.is_parametrized(layer, "weight"))
