"""Images in files behave like images in memory."""

from pathlib import Path

import numpy as np
import pytest

from repflow.data.read.memory_mapped import LazyImages, at_once, concatenated, evenly_spaced, subset_of
from repflow.data.read.rows import Rows, sampled
from repflow.training.checkpoints import fingerprint


@pytest.fixture
def arrays(tmp_path: Path) -> list[np.ndarray]:
    """Two memory-mapped arrays of images."""
    generator = np.random.default_rng(0)
    found = []
    for number, count in enumerate((7, 5)):
        np.save(tmp_path / f"{number}.npy", generator.integers(0, 256, (count, 3, 2, 2), np.uint8))
        found.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    return found


@pytest.fixture
def both(arrays: list[np.ndarray]) -> tuple[LazyImages, np.ndarray]:
    """A selection, and the same images in memory."""
    index = [np.array([0, 3, 6]), np.array([1, 2, 4])]
    whole = np.concatenate([array[rows] for array, rows in zip(arrays, index, strict=True)])
    return LazyImages(list(zip(arrays, index, strict=True))), whole


WANTED = [slice(None), slice(1, 4), np.array([5, 0, 0, 3]), np.array([True, False, True, True, False, True]), 4]


@pytest.mark.parametrize("wanted", WANTED)
def test_indexing_gives_what_an_array_in_memory_gives(both: tuple[LazyImages, np.ndarray], wanted: object) -> None:
    selection, whole = both
    assert np.array_equal(selection[wanted], whole[wanted])  # type: ignore[call-overload]


def test_attributes_are_those_of_an_array(both: tuple[LazyImages, np.ndarray]) -> None:
    selection, whole = both
    for name in ("shape", "dtype", "size", "nbytes"):
        assert getattr(selection, name) == getattr(whole, name)
    assert len(selection) == len(whole)
    assert np.array_equal(np.asarray(selection), whole)


def test_a_subset_stays_unread(both: tuple[LazyImages, np.ndarray]) -> None:
    selection, whole = both
    known = np.array([True, False, True, False, True, True])
    part = selection.subset(known)
    assert isinstance(part, LazyImages)
    assert np.array_equal(part[:], whole[known])
    with pytest.raises(ValueError, match="return from one part"):
        selection.subset(np.array([4, 0]))


def test_concatenated_images_are_unread_if_one_part_is(both: tuple[LazyImages, np.ndarray]) -> None:
    selection, whole = both
    mixed = concatenated([whole[:2], selection, whole[:1]])
    assert isinstance(mixed, LazyImages)
    assert np.array_equal(mixed[:], np.concatenate([whole[:2], whole, whole[:1]]))
    assert isinstance(concatenated([whole, whole]), np.ndarray)


def test_what_is_empty_is_not_a_reason_to_copy(both: tuple[LazyImages, np.ndarray]) -> None:
    selection, whole = both
    assert concatenated([whole, whole[:0]]) is whole
    assert concatenated([selection.subset(np.array([], int)), whole]) is whole
    assert len(concatenated([whole[:0], whole[:0]])) == 0


def test_images_in_a_file_have_the_fingerprint_of_those_in_memory(both: tuple[LazyImages, np.ndarray]) -> None:
    selection, whole = both
    assert fingerprint("images", selection) == fingerprint("images", whole)
    assert fingerprint("images", selection) != fingerprint("images", whole[::-1])


def test_large_images_are_taken_in_smaller_parts(both: tuple[LazyImages, np.ndarray]) -> None:
    selection, whole = both  # twelve values an image
    assert at_once(selection, 4, 1000) == at_once(whole, 4, 1000) == 4
    assert at_once(whole, 4, 36) == 3
    assert at_once(whole, 4, 1) == 1


def test_a_sample_is_evenly_spaced_and_stays_unread(both: tuple[LazyImages, np.ndarray]) -> None:
    assert evenly_spaced(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly_spaced(3, 10).tolist() == [0, 1, 2]
    selection, whole = both
    rows = Rows(selection, np.arange(6), np.arange(10, 16), ("a",))
    assert sampled(rows, 6) is rows
    few = sampled(rows, 3)
    assert isinstance(few.images, LazyImages)
    assert few.index.tolist() == [10, 12, 15]
    assert few.labels.tolist() == [0, 2, 5]
    assert np.array_equal(few.images[:], whole[[0, 2, 5]])
    assert np.array_equal(subset_of(whole, np.array([0, 2])), whole[[0, 2]])
