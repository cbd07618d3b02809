"""What several processes need to train as one would: shares of a batch, and batch statistics over all of them."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from repflow.errors import ParameterError


def check_shares(sizes: Mapping[str, int], ranks: int) -> None:
    """Raise ParameterError where a stream's batch size cannot be parted evenly between `ranks` processes."""
    for name, size in sizes.items():
        if size % ranks:
            raise ParameterError(
                f"training.batch_size: the {size} images of stream {name!r} in a step cannot be shared by {ranks}"
                " devices; take a multiple, or set hardware.devices"
            )


def synchronise_batch_norm(module: nn.Module, device: torch.device) -> None:
    """Let every batch normalisation below `module` use the statistics of the whole batch, in place.

    PyTorch has that for GPUs alone; on the CPU, `CommonBatchNorm` stands in.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            whole = nn.SyncBatchNorm.convert_sync_batchnorm(child) if device.type == "cuda" else CommonBatchNorm(child)
            setattr(module, name, whole)
        else:
            synchronise_batch_norm(child, device)


class CommonBatchNorm(nn.Module):
    """Batch normalisation over the shares of all processes, on any device.

    Its parameters and buffers are those of the layer that it takes the place of, under the same names.

    Args:
        layer: the batch normalisation of one process.
    """

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm):
        super().__init__()
        self.eps, self.momentum = layer.eps, layer.momentum
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(layer, name))

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, ...] to the same shape; every process must have the same B."""
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return nn.functional.batch_norm(
                features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        others = [axis for axis in range(features.ndim) if axis != 1]
        ranks = torch.distributed.get_world_size()
        mean = common_sum(features.mean(others)) / ranks
        shape = [1, -1] + [1] * (features.ndim - 2)
        centred = features - mean.view(shape)
        variance = common_sum(centred.square().mean(others)) / ranks
        self._remember(mean.detach(), variance.detach(), features.numel() // features.shape[1] * ranks)
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        scaled: Tensor = normal if self.weight is None else normal * self.weight.view(shape) + self.bias.view(shape)
        return scaled

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / (count - 1), momentum)


class _CommonSum(torch.autograd.Function):
    """The sum over all processes, each of which has a loss of its own that depends on it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


def common_sum(values: Tensor) -> Tensor:
    """The sum of `values` over all processes; the gradients of all their losses go back through it."""
    total: Tensor = _CommonSum.apply(values)
    return total
