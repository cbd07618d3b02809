"""Noting which kernels PyTorch calls, by libraries and in backward passes as well."""

from collections.abc import Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class KernelCalls(TorchDispatchMode):
    """Notes the calls within its `with` block that `described` gives a name.

    Attributes:
        found: the names, in the order of the calls.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def described(self, name: str, args: tuple[Any, ...]) -> str | None:
        """What to note of a call of the kernel `name`; None for nothing."""
        raise NotImplementedError

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the kernel."""
        if described := self.described(func.overloadpacket.__name__, args):
            self.found.append(described)
        return func(*args, **(kwargs or {}))
