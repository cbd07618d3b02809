"""Watching for PyTorch kernels whose digits depend on the maker of the CPU; see `repflow.hardware.portable_math`."""

from typing import Any

import torch

from numerics.kernel_calls import KernelCalls

KERNELS = frozenset(
    {
        *("sqrt", "sqrt_", "_foreach_sqrt", "_foreach_sqrt_", "_euclidean_dist", "_pdist_forward"),
        *("asin", "asin_", "acos", "acos_", "atan", "atan_", "log2", "log2_", "log10", "log10_"),
    }
)
DOUBLE = frozenset({"log", "log_", "logit", "logit_", "tan", "tan_", "logdet", "_linalg_slogdet", "linalg_slogdet"})
"""Those whose digits do in double precision alone."""


class Watch(KernelCalls):
    """Notes every such kernel that is called within its `with` block."""

    def described(self, name: str, args: tuple[Any, ...]) -> str | None:
        """The name of a kernel whose digits depend on the CPU."""
        half = name in ("pow", "pow_") and isinstance(args[1], float) and args[1] == 0.5
        return name if name in KERNELS or half or (name in DOUBLE and args[0].dtype == torch.float64) else None
