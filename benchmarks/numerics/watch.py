"""Watching for PyTorch kernels whose digits depend on the maker of the CPU; see `repflow.hardware.portable_math`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

KERNELS = frozenset(
    {
        *("sqrt", "sqrt_", "_foreach_sqrt", "_foreach_sqrt_", "_euclidean_dist", "_pdist_forward"),
        *("asin", "asin_", "acos", "acos_", "atan", "atan_", "log2", "log2_", "log10", "log10_"),
    }
)
DOUBLE = frozenset({"log", "log_", "logit", "logit_", "tan", "tan_", "logdet", "_linalg_slogdet", "linalg_slogdet"})
"""Those whose digits do in double precision alone."""


class Watch(TorchDispatchMode):
    """Notes every such kernel that is called within its `with` block, by libraries and in backward passes as well.

    Attributes:
        found: names of the kernels.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the kernel."""
        name = func.overloadpacket.__name__
        half = name in ("pow", "pow_") and isinstance(args[1], float) and args[1] == 0.5
        if name in KERNELS or half or (name in DOUBLE and args[0].dtype == torch.float64):
            self.found.append(name)
        return func(*args, **(kwargs or {}))
