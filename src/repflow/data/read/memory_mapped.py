"""Images in memory-mapped files, read only when they are indexed."""

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

_AT_ONCE = 1024


class LazyImages:
    """A read-only array of selected rows of memory-mapped arrays, concatenated; rows are read when they are indexed.

    Args:
        parts: arrays [N, ...] of one shape and dtype, each with the selected rows, int64 [n].
    """

    def __init__(self, parts: Sequence[tuple[np.ndarray, np.ndarray]]):
        self._parts = list(parts)
        self._ends = np.cumsum([len(rows) for _, rows in self._parts])
        self.shape = (int(self._ends[-1]), *self._parts[0][0].shape[1:])
        self.dtype = self._parts[0][0].dtype
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape))
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, wanted: Any) -> np.ndarray:
        """The images at a slice, an index array or a mask, read into memory: [n, ...]."""
        rows = np.arange(len(self))[wanted]
        found = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        flat, out = rows.reshape(-1), found.reshape(-1, *self.shape[1:])
        # In chunks, so that little more than the result is in memory.
        for first in range(0, len(flat), _AT_ONCE):
            self._fill(out[first : first + _AT_ONCE], flat[first : first + _AT_ONCE])
            for array, _ in self._parts:
                _release_pages(array)
        return found

    def _fill(self, found: np.ndarray, rows: np.ndarray) -> None:
        part = np.searchsorted(self._ends, rows, side="right")
        starts = self._ends - [len(index) for _, index in self._parts]
        for number, (array, index) in enumerate(self._parts):
            here = part == number
            found[here] = array[index[rows[here] - starts[number]]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def subset(self, wanted: np.ndarray) -> "LazyImages":
        """The images at the given positions, int64 [n] or a mask, without reading them."""
        rows = np.arange(len(self))[wanted]
        part = np.searchsorted(self._ends, rows, side="right")
        if (np.diff(part) < 0).any():
            raise ValueError("positions must not return from one part to an earlier one")
        starts = self._ends - [len(index) for _, index in self._parts]
        return LazyImages([(array, index[rows[part == n] - starts[n]]) for n, (array, index) in enumerate(self._parts)])

    def __add__(self, other: "LazyImages") -> "LazyImages":
        """The concatenation of both, without reading either."""
        return LazyImages([*self._parts, *other._parts])


def _release_pages(array: np.ndarray) -> None:
    """Release the pages of a memory-mapped file that were read; until then they count as this process's memory."""
    if isinstance(array.base, mmap.mmap) and hasattr(array.base, "madvise"):
        array.base.madvise(mmap.MADV_DONTNEED)


Images = np.ndarray | LazyImages
"""uint8 [N, channels, size, size], in memory or memory-mapped."""


def subset_of(images: Images, wanted: np.ndarray) -> Images:
    """The images at ascending positions, int64 [n]; those that are memory-mapped stay unread."""
    return images.subset(wanted) if isinstance(images, LazyImages) else images[wanted]


def at_once(images: Images, most: int, values: int) -> int:
    """How many images to take together: `most`, of large images fewer, so that they have at most `values` values."""
    return max(1, min(most, values // max(1, int(np.prod(images.shape[1:])))))


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Positions of at most `most` of `count` rows, evenly spaced: int64 [n], ascending; all where there are no more."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))


def concatenated(parts: Sequence[Images]) -> Images:
    """The concatenation of all images; memory-mapped if any of the parts is."""
    filled = [part for part in parts if len(part)] or parts[:1]
    if len(filled) == 1:
        return filled[0]  # not copied
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(list(parts))
    whole = [part if isinstance(part, LazyImages) else LazyImages([(part, np.arange(len(part)))]) for part in parts]
    return sum(whole[1:], whole[0])
