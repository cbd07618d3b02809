"""Duplicates: the banded search finds what comparing all pairs finds, fast enough for MNIST, without false matches."""

import io
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from repflow.data import duplicates
from repflow.data.duplicates import components, equal_pairs, near_pairs
from repflow.data.ingest.facts import image_facts


def naive(phash: np.ndarray, dhash: np.ndarray, distance: int) -> np.ndarray:
    """The components that comparing every pair of hashes one by one gives."""
    pairs = [
        (left, right)
        for left in range(len(phash))
        for right in range(left)
        if (int(phash[left]) ^ int(phash[right])).bit_count() <= distance
        and 64 * (int(dhash[left]) ^ int(dhash[right])).bit_count()
        <= distance * min(64, int(dhash[left]).bit_count() + int(dhash[right]).bit_count())
    ]
    return components(len(phash), np.array(pairs, np.int64).reshape(-1, 2))


def same_parts(one: np.ndarray, other: np.ndarray) -> bool:
    both = len(np.unique(np.column_stack([one, other]), axis=0))
    return both == len(np.unique(one)) == len(np.unique(other))


word = st.integers(0, 2**64 - 1) | st.just(2**64 - 1)
flips = st.lists(st.integers(0, 63), max_size=5)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    bases=st.tuples(word, word),
    rows=st.lists(st.tuples(st.booleans(), flips, flips), max_size=30),
    distance=st.integers(0, 8),
)
def test_the_search_finds_what_comparing_all_pairs_finds(bases, rows, distance):
    flip = [[sum(1 << bit for bit in set(bits)) for bits in each] for _, *each in rows]
    base = [bases[first] for first, *_ in rows]
    phash = np.array([word ^ bits[0] for word, bits in zip(base, flip, strict=True)], np.uint64)
    dhash = np.array([word ^ bits[1] for word, bits in zip(base, flip, strict=True)], np.uint64)
    found = components(len(rows), near_pairs(phash, dhash, distance))
    assert same_parts(found, naive(phash, dhash, distance))


@pytest.mark.parametrize("distance", range(1, 9))
@pytest.mark.parametrize("hashes", [("phash", "dhash"), ("dhash", "phash")])
def test_bits_may_differ_anywhere(distance, hashes):
    """Each image and its copy, which differs in as many bits as are allowed, are a pair and nothing else."""
    draws = np.random.default_rng(distance)
    count = 200
    words = np.packbits(draws.permuted(np.tile(np.arange(64) < 45, (count, 1)), axis=1), axis=1).view(np.uint64)[:, 0]
    flipped = np.packbits(draws.permuted(np.tile(np.arange(64) < distance, (count, 1)), axis=1), axis=1)
    moved = np.concatenate([words, words ^ flipped.view(np.uint64)[:, 0]])
    found = components(2 * count, near_pairs(**{hashes[0]: moved, hashes[1]: np.tile(words, 2)}, distance=distance))
    assert same_parts(found, np.tile(np.arange(count), 2))


def test_pieces_hold_every_pair_of_equal_keys_once(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 7)
    keys = np.random.default_rng(0).integers(0, 9, 60).astype(np.uint64)
    pieces = [np.sort(np.column_stack(piece), axis=1) for piece in duplicates._pairs_within(keys)]
    left, right = np.triu_indices(60, 1)
    expected = np.column_stack([left, right])[keys[left] == keys[right]]
    assert len(pieces) > 20
    assert sorted(map(tuple, np.concatenate(pieces))) == sorted(map(tuple, expected))


def test_seventy_thousand_images_take_a_few_seconds():
    draws = np.random.default_rng(0)
    count = 70_000
    drawings = draws.integers(0, 2**62, count).astype(np.uint64) & draws.integers(0, 2**62, count).astype(np.uint64)
    phash = draws.integers(0, 2**62, count).astype(np.uint64)
    phash[:5000], drawings[:5000] = 0, 0  # as blank images are, thousands of them
    started = time.process_time()
    found = components(count, near_pairs(phash, drawings, 4))
    assert time.process_time() - started < 20, "about 0.5 s of a processor"
    assert np.bincount(found).max() == 5000


def test_equal_codes_are_joined_and_unknown_ones_are_not():
    found = components(6, equal_pairs(np.array([3, -1, 3, -1, 0, 3])))
    assert same_parts(found, np.array([0, 1, 0, 2, 3, 0]))


def test_no_images_have_no_duplicates():
    empty = np.empty(0, np.uint64)
    assert near_pairs(empty, empty, 3).shape == (0, 2)
    assert len(components(0, near_pairs(empty, empty, 3))) == 0


def test_photos_encoded_anew_or_scaled_are_found_and_other_photos_are_not():
    photos = load_sample_images().images
    crops = [photo[y : y + 96, x : x + 96] for photo in photos for y in range(0, 330, 96) for x in range(0, 540, 96)]
    crops = [crop for crop in crops if crop.std() > 25]  # a flat piece of sky has no hash to speak of
    changed = [_encoded(crop, 95) for crop in crops], [_scaled(crop, 72) for crop in crops]
    images = np.stack([_scaled(crop, 32) for crops_of in (crops, *changed) for crop in crops_of])
    facts = image_facts(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    found = components(len(images), near_pairs(facts["phash"], facts["dhash"], 4)).reshape(3, -1)
    assert len(np.unique(found[0])) == len(crops) > 20, "different crops stay apart"
    for part in found[1:]:
        assert (part == found[0]).mean() > 0.8


def test_handwritten_digits_are_not_linked_as_near_duplicates():
    digits = (load_digits().images * (255 / 16)).astype(np.uint8).repeat(4, 1).repeat(4, 2)[:, None]
    facts = image_facts(np.ascontiguousarray(digits))
    sizes = np.bincount(components(len(digits), near_pairs(facts["phash"], facts["dhash"], 2)))
    assert (sizes > 1).sum() < 0.02 * len(digits)
    assert sizes.max() < 10


def _encoded(image: np.ndarray, quality: int) -> np.ndarray:
    place = io.BytesIO()
    Image.fromarray(image).save(place, "JPEG", quality=quality)
    return np.asarray(Image.open(place))


def _scaled(image: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def test_so_many_near_duplicates_that_they_are_not_all_remembered_have_the_same_components(monkeypatch):
    draw = np.random.default_rng(0)
    phash = np.repeat(draw.integers(0, 2**63, 4, dtype=np.uint64), 60) ^ (
        np.uint64(1) << draw.integers(0, 64, 240, dtype=np.uint64)
    )
    dhash = np.full(240, 2**64 - 1, np.uint64)
    every = near_pairs(phash, dhash, 2)
    monkeypatch.setattr(duplicates, "MOST_FOUND", 500)
    fewer = near_pairs(phash, dhash, 2)
    assert len(fewer) < 1000 < len(every)
    assert same_parts(components(240, every), components(240, fewer))
