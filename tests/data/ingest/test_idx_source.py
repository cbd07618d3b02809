"""IDX files: the published MNIST files, damaged files, and files that do not match."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.idx import Idx
from repflow.errors import DataError, ParameterError

Collect = Callable[..., Collected]
IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "images").write_bytes(idx(IMAGES))
    (tmp_path / "labels.gz").write_bytes(gzip.compress(idx(np.array([7, 0, 7], np.uint8))))
    (tmp_path / "test_images.gz").write_bytes(gzip.compress(idx(IMAGES[:2])))
    (tmp_path / "test_labels").write_bytes(idx(np.array([1, 2], np.uint8)))
    return tmp_path


def test_images_and_labels_come_in_the_order_of_the_files(collect: Collect, files: Path) -> None:
    collected = collect(Idx("idx", "images", "labels", "test_images", "test_labels"))
    assert np.array_equal(collected.images, np.concatenate([IMAGES, IMAGES[:2]])[:, None])
    assert collected.listing["given_class"].tolist() == ["7", "0", "7", "1", "2"]
    assert collected.listing["split"].tolist() == ["train"] * 3 + ["test"] * 2
    assert collected.listing["index"].tolist() == [0, 1, 2, 3, 4]
    assert collected.listing["path"].tolist()[2:4] == ["images/0002", "test_images/0000"]
    assert set(zip(collected.listing["width"], collected.listing["height"], strict=True)) == {(5, 4)}


def test_a_name_is_found_zipped_or_not(collect: Collect, files: Path) -> None:
    by_name = collect(Idx("idx", "images.gz", "labels.gz"))
    assert by_name.listing.equals(collect(Idx("idx", "images", "labels")).listing)


def test_images_without_labels_have_no_class_and_no_split(collect: Collect, files: Path) -> None:
    listing = collect(Idx("idx", "images")).listing
    assert listing["given_class"].isna().all()
    assert listing["split"].isna().all()


def test_colour_images_keep_their_channels(collect: Collect, files: Path) -> None:
    colour = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    (files / "colour").write_bytes(idx(colour))
    collected = collect(Idx("idx", "colour"))
    assert np.array_equal(collected.images, colour.transpose(0, 3, 1, 2))
    assert set(collected.listing["mode"]) == {"RGB"}


def test_more_labels_than_images_are_refused(collect: Collect, files: Path) -> None:
    with pytest.raises(DataError, match=r"test_labels: 2 labels for the 3 images of .*images"):
        collect(Idx("idx", "images", "test_labels"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file"),
        (b"\x89PNG\r\n\x1a\n", "is not an IDX file"),
        (idx(IMAGES)[:9], "ends within its header"),
        (idx(IMAGES)[:-1], "its header says 60 bytes, but there are 59"),
        (idx(IMAGES) + b"!", "its header says 60 bytes, but there are more"),
        (idx(IMAGES, kind=13), r"IDX data type 0x0d; only unsigned bytes \(0x08\) are supported"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "more than the limit of 34,359,738,368"),
        (idx(IMAGES[0]), "an array of shape 4x5, but images must have the shape"),
        (idx(IMAGES[:0]), "an array of shape 0x4x5x1, but images must have the shape"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-20], "cannot be read"),
    ],
)
def test_a_damaged_file_is_refused(collect: Collect, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(DataError, match=message):
        collect(Idx("idx", "images"))


def test_a_missing_file_is_named(collect: Collect, files: Path) -> None:
    with pytest.raises(DataError, match=r"nothing: no such file, with or without \.gz"):
        collect(Idx("idx", "images", "nothing"))
    with pytest.raises(ParameterError, match="test_labels are given, but no test_images"):
        collect(Idx("idx", "images", "labels", None, "test_labels"))


def test_training_and_test_images_must_have_one_shape(collect: Collect, files: Path) -> None:
    (files / "wide").write_bytes(idx(IMAGES.reshape(3, 2, 10)))
    with pytest.raises(DataError, match=r"training images have the shape .* and test images"):
        collect(Idx("idx", "images", None, "wide"))


def test_mnist_is_read_whole(real_data: Path) -> None:
    parts = (f"mnist/{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
    collected = Idx("idx", *parts).collect(Request(ImageFormat(28, 1, "stretch"), real_data, 0, "test"))
    assert collected.images.shape == (70000, 1, 28, 28)
    assert collected.listing["given_class"].tolist()[:5] == ["5", "0", "4", "1", "9"]
    assert collected.listing["split"].value_counts().to_dict() == {"train": 60000, "test": 10000}
    assert collected.images.mean() == pytest.approx(33.385, abs=0.01)
