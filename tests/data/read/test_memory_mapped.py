"""Images in files behave like images in memory."""

from pathlib import Path

import numpy as np
import pytest

from repflow.data.read.memory_mapped import Selection, joined


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
def both(arrays: list[np.ndarray]) -> tuple[Selection, np.ndarray]:
    """A selection, and the same images in memory."""
    index = [np.array([0, 3, 6]), np.array([1, 2, 4])]
    whole = np.concatenate([array[rows] for array, rows in zip(arrays, index, strict=True)])
    return Selection(list(zip(arrays, index, strict=True))), whole


WANTED = [slice(None), slice(1, 4), np.array([5, 0, 0, 3]), np.array([True, False, True, True, False, True]), 4]


@pytest.mark.parametrize("wanted", WANTED)
def test_what_is_taken_is_what_memory_holds(both: tuple[Selection, np.ndarray], wanted: object) -> None:
    selection, whole = both
    assert np.array_equal(selection[wanted], whole[wanted])  # type: ignore[call-overload]


def test_it_tells_of_itself_what_an_array_tells(both: tuple[Selection, np.ndarray]) -> None:
    selection, whole = both
    for name in ("shape", "dtype", "size", "nbytes"):
        assert getattr(selection, name) == getattr(whole, name)
    assert len(selection) == len(whole)
    assert np.array_equal(np.asarray(selection), whole)


def test_parts_of_it_stay_unread(both: tuple[Selection, np.ndarray]) -> None:
    selection, whole = both
    known = np.array([True, False, True, False, True, True])
    part = selection.only(known)
    assert isinstance(part, Selection)
    assert np.array_equal(part[:], whole[known])
    with pytest.raises(ValueError, match="go back"):
        selection.only(np.array([4, 0]))


def test_joined_images_are_unread_where_one_of_them_is(both: tuple[Selection, np.ndarray]) -> None:
    selection, whole = both
    mixed = joined([whole[:2], selection, whole[:1]])
    assert isinstance(mixed, Selection)
    assert np.array_equal(mixed[:], np.concatenate([whole[:2], whole, whole[:1]]))
    assert isinstance(joined([whole, whole]), np.ndarray)
