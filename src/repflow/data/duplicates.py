"""Which images are copies of one another: exact copies by checksum, near-duplicates by two perceptual hashes.

Two images are near-duplicates where both their perceptual hash and their difference hash differ in at most D of 64
bits. The search never compares all pairs: two 64-bit words that differ in at most D bits agree wholly on at least one
of D + 1 bands of bits, so only images that share a band of either hash are compared (Norouzi, Punjani, Fleet. Fast
Search in Hamming Space with Multi-Index Hashing. CVPR 2012).
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS = 64
MOST_PAIRS = 4_000_000
"""Candidate pairs held at once: about 100 MB."""


def equal_pairs(codes: np.ndarray) -> np.ndarray:
    """Pairs that join every row to the first one of the same code: int64 [P, 2], positions.

    Args:
        codes: what a row is to share with others, int64 [N]; a negative code is shared with none.
    """
    known = np.flatnonzero(codes >= 0)
    _, first, which = np.unique(codes[known], return_index=True, return_inverse=True)
    pairs = np.column_stack([known[first[which]], known])
    return np.asarray(pairs[pairs[:, 0] != pairs[:, 1]])


def near_pairs(phash: np.ndarray, dhash: np.ndarray, distance: int) -> np.ndarray:
    """Pairs of near-duplicates, enough of them to join all that belong together.

    Args:
        phash: perceptual hashes, uint64 [N].
        dhash: difference hashes, uint64 [N].
        distance: bits in which each of the two hashes may differ, 0 to 63.

    Returns:
        int64 [P, 2], positions. Rows with equal hashes are joined to the first of them only, and that one to every
        other that is near.
    """
    both = np.empty(len(phash), dtype=[("phash", np.uint64), ("dhash", np.uint64)])
    both["phash"], both["dhash"] = phash, dhash
    unique, first, which = np.unique(both, return_index=True, return_inverse=True)
    found = [np.column_stack([first[which], np.arange(len(both))])]
    if distance:
        p, d = unique["phash"], unique["dhash"]
        for left, right in _candidates(p, d, distance):
            near = np.bitwise_count(p[left] ^ p[right]) <= distance
            left, right = left[near], right[near]
            near = np.bitwise_count(d[left] ^ d[right]) <= distance
            found.append(np.column_stack([first[left[near]], first[right[near]]]))
    pairs = np.concatenate(found)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def components(count: int, *pairs: np.ndarray) -> np.ndarray:
    """Number the sets of rows that pairs join, directly or by way of others: int64 [count], from 0."""
    joined = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    graph = coo_array((np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _candidates(phash: np.ndarray, dhash: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of positions that agree on a band of either hash, in pieces of bounded size."""
    for p_band in _bands(phash, distance + 1):
        for d_band in _bands(dhash, distance + 1):
            _, codes = np.unique(np.column_stack([p_band, d_band]).view("u8,u8").ravel(), return_inverse=True)
            yield from _pairs_within(codes)


def _bands(words: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Cut 64-bit words into `count` bands of nearly equal width; yields each band of every word, uint64 [N]."""
    edges = np.linspace(0, BITS, count + 1).round().astype(int)
    for low, high in pairwise(edges.tolist()):
        mask = np.uint64((1 << (high - low)) - 1)
        yield (words >> np.uint64(low)) & mask


def _pairs_within(codes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of positions with the same code, at most about `MOST_PAIRS` at once."""
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], codes[order], side="right")
    partners = ends - np.arange(len(order)) - 1  # how many of the same code follow in this order
    positions = np.flatnonzero(partners)
    cuts = np.flatnonzero(np.diff(np.cumsum(partners[positions]) // MOST_PAIRS)) + 1
    for part in np.split(positions, cuts):
        sizes = partners[part]
        left = np.repeat(part, sizes)
        steps = np.arange(len(left)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        yield order[left], order[left + 1 + steps]
