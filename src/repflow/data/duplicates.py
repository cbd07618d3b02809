"""Duplicate detection: exact copies by checksum, near-duplicates by two perceptual hashes.

Near-duplicates differ in at most D of the 64 bits of the perceptual hash, and in at most D of the 64 of the difference
hash. An unset bit of the difference hash carries no information in a flat part of an image, and a drawing on a plain
background is mostly flat. So D differing bits are allowed only if both hashes together have 64 bits set, and
proportionally fewer otherwise. Without that, thousands of handwritten strokes of one slant would count as one image.

The search never compares all pairs: two hashes that differ in at most D bits agree completely on at least one of D + 1
bands of bits, so only images that share a band of either hash are compared (Norouzi, Punjani, Fleet. Fast Search in
Hamming Space with Multi-Index Hashing. CVPR 2012).
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS = 64
MOST_PAIRS = 2_000_000
"""Pairs that are compared at once: about 100 MB."""
MOST_FOUND = 10_000_000
"""Pairs of near-duplicates that are remembered: 160 MB."""


def equal_pairs(codes: np.ndarray) -> np.ndarray:
    """Pairs that link every row to the first row with the same code: int64 [P, 2], row positions.

    Args:
        codes: int64 [N]; a negative code means missing, and links to no other row.
    """
    known = np.flatnonzero(codes >= 0)
    _, first, which = np.unique(codes[known], return_index=True, return_inverse=True)
    return _ordered_pairs(known[first[which]], known)


def near_pairs(phash: np.ndarray, dhash: np.ndarray, distance: int) -> np.ndarray:
    """Pairs of near-duplicates, enough of them to connect every component.

    Args:
        phash: perceptual hashes, uint64 [N].
        dhash: difference hashes, uint64 [N].
        distance: the bits D in which hashes may differ, 0 to 63.

    Returns:
        int64 [P, 2], row positions. Rows with equal hashes are linked to the first of them only, and that one to every
        near-duplicate with other hashes; of more than `MOST_FOUND` pairs, those that connect the components remain.
    """
    both = np.empty(len(phash), dtype=[("phash", np.uint64), ("dhash", np.uint64)])
    both["phash"], both["dhash"] = phash, dhash
    unique, first, which = np.unique(both, return_index=True, return_inverse=True)
    p, d = unique["phash"], unique["dhash"]
    found = [_ordered_pairs(first[which], np.arange(len(both)))]
    for left, right in _candidates(p, d, distance):
        near = _near(p[left], d[left], p[right], d[right], distance)
        found.append(_ordered_pairs(first[left[near]], first[right[near]]))
        if sum(map(len, found)) > MOST_FOUND:  # thousands of images that are all alike
            found = [equal_pairs(components(len(both), *found))]
    return np.unique(np.concatenate(found), axis=0)


def components(count: int, *pairs: np.ndarray) -> np.ndarray:
    """Connected components of the graph of `count` rows whose edges are `pairs`: int64 [count], numbered from 0."""
    joined = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    graph = coo_array((np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _ordered_pairs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The pairs of two different rows, the lower position first."""
    pairs = np.column_stack([np.minimum(left, right), np.maximum(left, right)])
    return np.asarray(pairs[pairs[:, 0] != pairs[:, 1]], np.int64)


def _near(p: np.ndarray, d: np.ndarray, other_p: np.ndarray, other_d: np.ndarray, distance: int) -> np.ndarray:
    differing = np.bitwise_count(d ^ other_d).astype(np.int64)
    set_bits = np.minimum(BITS, np.bitwise_count(d).astype(np.int64) + np.bitwise_count(other_d))
    return np.asarray((np.bitwise_count(p ^ other_p) <= distance) & (BITS * differing <= distance * set_bits))


def _candidates(phash: np.ndarray, dhash: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of positions that agree on a band of both hashes, in chunks of bounded size."""
    if not distance or not len(phash):
        return
    mixed = np.uint64(0x9E3779B97F4A7C15)  # an odd multiplier: keys of different bands rarely collide
    for p_band in _bands(phash, distance + 1):
        for d_band in _bands(dhash, distance + 1):
            yield from _pairs_within(((phash & p_band) * mixed) ^ (dhash & d_band))


def _bands(words: np.ndarray, count: int) -> list[np.uint64]:
    """Divide the 64 bits into `count` masks, each with an equal share of the most discriminative bits."""
    means = np.array([((words >> np.uint64(bit)) & np.uint64(1)).mean() for bit in range(BITS)])
    best_first = np.argsort(np.abs(means - 0.5), kind="stable")
    return [np.bitwise_or.reduce(np.uint64(1) << best_first[band::count].astype(np.uint64)) for band in range(count)]


def _pairs_within(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of positions with the same key, about `MOST_PAIRS` per chunk."""
    order = np.argsort(keys, kind="stable")
    new = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
    ends = np.repeat(np.append(new[1:], len(order)), np.diff(np.append(new, len(order))))
    following = ends - np.arange(len(order)) - 1  # how many later positions have the same key
    start = 0
    before = np.concatenate([[0], np.cumsum(following)])
    while start < len(order):
        stop = max(start + 1, int(np.searchsorted(before, before[start] + MOST_PAIRS)))
        part = np.arange(start, min(stop, len(order)))
        sizes = following[part]
        left = np.repeat(part, sizes)
        steps = np.arange(len(left)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        yield order[left], order[left + 1 + steps]
        start = int(part[-1]) + 1
