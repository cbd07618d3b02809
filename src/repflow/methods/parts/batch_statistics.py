"""Whether the output for an image depends on the other images of its forward pass."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether a module has batch normalisation, so that it matters which images share a forward pass."""
    return any(isinstance(each, _BatchNorm) for each in module.modules())
