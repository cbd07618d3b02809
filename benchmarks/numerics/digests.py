"""Digests of results."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

Result = torch.Tensor | np.ndarray | float
Results = Result | tuple["Results", ...]
Operation = Callable[[], Results]


def digest(results: Results) -> str:
    """The first ten hexadecimal digits of the SHA-256 of the bytes of results, in the order of their indices."""
    hashed = hashlib.sha256()
    for values in _flat(results):
        hashed.update(np.ascontiguousarray(values).tobytes())
    return hashed.hexdigest()[:10]


def _flat(results: Results) -> Iterable[Any]:
    if isinstance(results, tuple):
        for each in results:
            yield from _flat(each)
    else:
        yield results.detach().contiguous().numpy() if isinstance(results, torch.Tensor) else results
