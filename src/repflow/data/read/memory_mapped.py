"""Images that stay where they are, in files that are memory-mapped, until some of them are asked for."""

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

_AT_ONCE = 1024


class Selection:
    """Some images of some arrays, one below the other, read when they are taken: behaves like an array that is read.

    Args:
        parts: arrays [N, ...] of one shape and type, each with the rows that are meant, int64 [n].
    """

    def __init__(self, parts: Sequence[tuple[np.ndarray, np.ndarray]]):
        self._parts = list(parts)
        self._ends = np.cumsum([len(rows) for _, rows in self._parts])
        self.shape = (int(self._ends[-1]), *self._parts[0][0].shape[1:])
        self.dtype = self._parts[0][0].dtype
        self.size = int(np.prod(self.shape))
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, wanted: Any) -> np.ndarray:
        """The images at a slice, an array of positions, or a mask, read now: [n, ...]."""
        rows = np.arange(len(self))[wanted]
        found = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        flat, out = rows.reshape(-1), found.reshape(-1, *self.shape[1:])
        # Piece by piece, so that next to nothing is in memory beside what is asked for.
        for first in range(0, len(flat), _AT_ONCE):
            self._fill(out[first : first + _AT_ONCE], flat[first : first + _AT_ONCE])
            for array, _ in self._parts:
                _forget(array)
        return found

    def _fill(self, found: np.ndarray, rows: np.ndarray) -> None:
        part = np.searchsorted(self._ends, rows, side="right")
        starts = self._ends - [len(index) for _, index in self._parts]
        for number, (array, index) in enumerate(self._parts):
            here = part == number
            found[here] = array[index[rows[here] - starts[number]]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def only(self, wanted: np.ndarray) -> "Selection":
        """The images at some positions, int64 [n] or a mask, still unread."""
        rows = np.arange(len(self))[wanted]
        part = np.searchsorted(self._ends, rows, side="right")
        if (np.diff(part) < 0).any():
            raise ValueError("positions must not go back from one part to an earlier one")
        starts = self._ends - [len(index) for _, index in self._parts]
        return Selection([(array, index[rows[part == n] - starts[n]]) for n, (array, index) in enumerate(self._parts)])

    def __add__(self, other: "Selection") -> "Selection":
        """Both, one below the other."""
        return Selection([*self._parts, *other._parts])


def _forget(array: np.ndarray) -> None:
    """Let the pages of a memory-mapped file go that were read; they count as this process's memory until then."""
    if isinstance(array.base, mmap.mmap) and hasattr(array.base, "madvise"):
        array.base.madvise(mmap.MADV_DONTNEED)


Images = np.ndarray | Selection
"""uint8 [N, channels, size, size], in memory or in a file."""


def joined(parts: Sequence[Images]) -> Images:
    """All images, one below the other; unread where any of them is."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(list(parts))
    whole = [part if isinstance(part, Selection) else Selection([(part, np.arange(len(part)))]) for part in parts]
    return sum(whole[1:], whole[0])
