"""What goes round a fault of QEMU 7.2, so that programs can be run as another CPU would.

It takes ymm4 as the index of a gather for no index at all (which that number means in other instructions), so that some
AVX2 gathers read element 0 for every index or, relative to nothing, crash: in PyTorch's `grid_sample`, and in numpy's
`argsort`. Neither rounds, so that nothing is lost by doing it otherwise.
"""

import importlib
from functools import partial
from typing import Any

import numpy as np

GATHERING = ("grid_sample", "numpy.argsort")
"""Operations of `numerics` that cannot be run there."""


def sort_without_gathers() -> None:
    """Let numpy's `sort`, `argsort` and `unique` sort as they do where the order of equal values is to be kept."""
    sets: Any = importlib.import_module("numpy.lib._arraysetops_impl")
    unique = sets._unique1d

    def stable(ar: Any, return_index: bool = False, return_inverse: bool = False, *more: Any, **named: Any) -> Any:
        values, index, *others = unique(ar, True, return_inverse, *more, **named)
        return (values, index, *others) if return_index else (values, *others)

    sets._unique1d = stable
    np.sort = partial(np.sort, kind="stable")
    np.argsort = partial(np.argsort, kind="stable")
