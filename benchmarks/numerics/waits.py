"""Watching for calls after which the host would wait for a GPU, by their names, on any device.

`torch.cuda.set_sync_debug_mode` finds them on a GPU itself.
"""

from typing import Any

import torch
from torch import Tensor

from numerics.kernel_calls import KernelCalls

WAITS = frozenset(
    {
        *("_local_scalar_dense", "equal", "is_nonzero"),  # a value, as item(), bool(), float() and `if` ask for it
        *("nonzero", "nonzero_numpy", "masked_select", "unique", "_unique", "_unique2", "unique_dim", "bincount"),
        *("unique_consecutive", "_linalg_check_errors"),  # sizes that depend on values, and whether a matrix was fit
    }
)
"""Kernels that make the host wait."""
LISTS = frozenset({"lift_fresh", "lift_fresh_copy"})
"""Kernels by which a list becomes a tensor, which is copied from the host. One number may stay there, as an operand."""

INDEXED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
MASKS = (torch.bool, torch.uint8)
"""Types of an index that is a mask, whose number of entries has to be known first."""


class Waits(KernelCalls):
    """Notes every such call within its `with` block; an index that is a mask is named with it."""

    def described(self, name: str, args: tuple[Any, ...]) -> str | None:
        """The name of a kernel that makes the host wait."""
        if name in WAITS or (name in LISTS and args[0].ndim):
            return name
        if name in INDEXED and any(isinstance(each, Tensor) and each.dtype in MASKS for each in args[1]):
            return f"{name} by a mask"
        return None
