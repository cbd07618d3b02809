"""Data-parallel training: batch sizes divided among processes, and synchronised batch normalisation."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from repflow.errors import ParameterError


def check_batch_sizes(sizes: Mapping[str, int], ranks: int) -> None:
    """Raise ParameterError if the batch size of a stream is not a multiple of the number of processes `ranks`."""
    for name, size in sizes.items():
        if size % ranks:
            raise ParameterError(
                f"training.batch_size: the {size} images of stream {name!r} in a step cannot be shared by {ranks}"
                " devices; take a multiple, or set hardware.devices"
            )


def synchronise_batch_norm(module: nn.Module, device: torch.device) -> None:
    """Replace every batch normalisation layer in `module` by a synchronised one, in place.

    Its statistics are those of the global batch. `torch.nn.SyncBatchNorm` works on GPUs only; on the CPU
    `DistributedBatchNorm` is used.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            # timm has layers that apply an activation, too, as a submodule; PyTorch's conversion would drop it.
            alone = device.type == "cuda" and not list(child.children())
            layer = nn.SyncBatchNorm.convert_sync_batchnorm(child) if alone else DistributedBatchNorm(child)
            setattr(module, name, layer)
        else:
            synchronise_batch_norm(child, device)


class DistributedBatchNorm(nn.Module):
    """Synchronised batch normalisation with the statistics of the global batch, on any device.

    Its parameters and buffers have the names of those of the layer that it replaces. Submodules of that layer, as the
    activation of timm's `BatchNormAct2d`, are applied after the normalisation, in their order.

    Args:
        layer: the batch normalisation layer to replace.
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
        self._following = [name for name, _ in layer.named_children()]
        for name, child in layer.named_children():
            self.add_module(name, child)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features [B, C, ...]; every process must have the same B."""
        features = self._normalised(features)
        for name in self._following:
            features = self.get_submodule(name)(features)
        return features

    def _normalised(self, features: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return nn.functional.batch_norm(
                features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        others = [axis for axis in range(features.ndim) if axis != 1]
        ranks = torch.distributed.get_world_size()
        mean = all_reduce_sum(features.mean(others)) / ranks
        shape = [1, -1] + [1] * (features.ndim - 2)
        centred = features - mean.view(shape)
        variance = all_reduce_sum(centred.square().mean(others)) / ranks
        self._update_running_statistics(mean.detach(), variance.detach(), features.numel() // features.shape[1] * ranks)
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        scaled: Tensor = normal if self.weight is None else normal * self.weight.view(shape) + self.bias.view(shape)
        return scaled

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / (count - 1), momentum)


class _AllReduceSum(torch.autograd.Function):
    """A differentiable all-reduce; every process has its own loss that depends on the sum."""

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


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, differentiable: the gradients of all processes' losses are summed."""
    total: Tensor = _AllReduceSum.apply(values)
    return total
