"""Watching for PyTorch kernels that take MKL's square root on the CPU, whose digits depend on the CPU's maker."""

from collections.abc import Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

KERNELS = frozenset({"sqrt", "sqrt_", "_foreach_sqrt", "_foreach_sqrt_", "_euclidean_dist", "_pdist_forward"})


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
        if name in KERNELS or (name in ("pow", "pow_") and isinstance(args[1], float) and args[1] == 0.5):
            self.found.append(name)
        return func(*args, **(kwargs or {}))
