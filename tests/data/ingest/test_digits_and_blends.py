"""The bundled data: digits by different people, and the blending of MNIST-M."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from repflow.data.ingest.ingestion import DataConfig
from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.sources.blended import Blended, blend, random_crops, repeat_listing
from repflow.data.ingest.sources.contract import Collected, Request, listing
from repflow.data.ingest.sources.digits import Digits
from repflow.data.ingest.sources.idx import Idx
from repflow.data.ingest.sources.photos import BundledPhotos, PhotoArchive, PhotoFolder
from repflow.errors import DataError, ParameterError
from repflow.schema import build

Collect = Callable[..., Collected]
CHOICE = Path(__file__).parents[3] / "conf/data/digits.yaml"


@pytest.fixture(scope="module")
def default() -> DataConfig:
    return build(DataConfig, yaml.safe_load(CHOICE.read_text(encoding="utf-8"))["data"], str(CHOICE))


def blended(start: float = 0.9, stop: float = 1.0) -> Blended:
    return Blended("blended", Digits("digits", start, stop), BundledPhotos("bundled"))


def test_parts_of_the_digits_are_contiguous_and_complete(collect: Collect) -> None:
    parts = [collect(Digits("digits", start, stop)) for start, stop in ((0, 0.3), (0.3, 0.77), (0.77, 1))]
    whole = collect(Digits("digits"))
    assert len(whole.images) == 1797
    assert np.array_equal(np.concatenate([part.images for part in parts]), whole.images)
    assert [path for part in parts for path in part.listing["path"]] == whole.listing["path"].tolist()
    assert [row for part in parts for row in part.listing["index"]] == [*range(539), *range(845), *range(413)]


def test_digits_are_bright_ink_on_black_inside_a_margin(collect: Collect) -> None:
    images = collect(Digits("digits"), size=32).images
    assert images.shape == (1797, 1, 32, 32)
    assert images[:, 0, :4].max() == images[:, 0, :, -4:].max() == 0
    assert images.max() == 255
    assert collect(Digits("digits", margin=0), size=32).images[:, 0, 0].max() > 0


def test_an_empty_part_of_the_digits_is_refused(collect: Collect) -> None:
    with pytest.raises(ParameterError, match="start must be below stop"):
        collect(Digits("digits", 0.5, 0.5))


def test_no_digit_of_the_default_stands_in_both_domains(default: DataConfig, collect: Collect) -> None:
    source, target = collect(default.source), collect(default.target)
    digits = target.listing["path"].str.removesuffix("#1")
    once = digits[~digits.str.contains("#")]
    assert len(source.images) + len(once) == 1797
    assert not set(source.listing["path"]) & set(once)


def test_the_domains_of_the_default_have_different_writers(default: DataConfig, collect: Collect) -> None:
    # Every writer of the data set starts with 0 to 9 in order.
    classes = collect(default.target).listing["given_class"]
    assert "".join(classes[:: default.target.copies][:20].tolist()) == "12345678901234567890"


def test_a_blend_is_the_difference_of_photo_and_digit() -> None:
    crop = np.array([10, 200, 90], np.uint8).reshape(1, 3, 1, 1)
    assert blend(crop, np.array([[[[100]]]], np.uint8)).ravel().tolist() == [90, 100, 10]
    assert blend(crop, np.array([[[[0]]]], np.uint8)).ravel().tolist() == [10, 200, 90]
    assert blend(crop, np.array([[[[255]]]], np.uint8)).ravel().tolist() == [245, 55, 165]


def test_crops_come_from_the_photos_and_from_all_of_them() -> None:
    photos = [np.zeros((3, 9, 40), np.uint8), np.ones((3, 30, 8), np.uint8), np.full((3, 8, 8), 2, np.uint8)]
    photos[0][:] = np.arange(40) + 100  # each column has the value of its position
    crops = random_crops(photos, 3000, (8, 8), Request(ImageFormat(8, 3, "crop"), Path(), 0, "test"))
    first = crops[crops[:, 0, 0, 0] >= 100]
    assert 800 < len(first) < 1200
    assert set(first[:, 0, 0, 0].tolist()) == set(range(100, 133))
    assert (np.diff(first.astype(int), axis=3) == 1).all()
    assert set(np.unique(crops[crops[:, 0, 0, 0] < 100]).tolist()) == {1, 2}


def test_blends_are_a_function_of_seed_and_stream(collect: Collect, tmp_path: Path) -> None:
    once, again, other = (collect(blended(), seed=seed).images for seed in (0, 0, 1))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)
    stream = blended().collect(Request(ImageFormat(16, 3, "stretch"), tmp_path, 0, "another")).images
    assert not np.array_equal(once, stream)


def test_blends_keep_the_classes_and_still_show_the_digits(collect: Collect) -> None:
    plain, mixed = collect(Digits("digits", 0.5, 1), size=32), collect(blended(0.5), size=32)
    assert mixed.images.shape == (len(plain.images), 3, 32, 32)
    assert mixed.listing["given_class"].tolist() == plain.listing["given_class"].tolist()
    ink = plain.images[:, 0] > 200
    bare = plain.images[:, 0] == 0
    grey = mixed.images.mean(axis=1)
    gaps = [abs(image[on].mean() - image[off].mean()) for image, on, off in zip(grey, ink, bare, strict=True)]
    assert np.median(gaps) > 50  # levels of grey between strokes and ground


def test_copies_have_crops_of_their_own_and_form_a_group(collect: Collect) -> None:
    once, thrice = collect(blended()), collect(dataclasses.replace(blended(), copies=3))
    assert len(thrice.images) == 3 * len(once.images)
    listing = thrice.listing
    assert listing["index"].tolist() == list(range(len(thrice.images)))
    assert listing["path"].is_unique
    assert listing["group"].tolist() == [path for path in once.listing["path"] for _ in range(3)]
    assert listing["given_class"].tolist() == [name for name in once.listing["given_class"] for _ in range(3)]
    assert not np.array_equal(thrice.images[0], thrice.images[1])
    assert once.listing["group"].isna().all(), "a single one needs no group"


def test_an_unreadable_file_is_listed_once_among_copies() -> None:
    read = listing(path=["a", "b", "c"], index=[0, -1, 1], given_class=["x", "x", "y"], reason=[None, "broken", None])
    read["group"] = [None, None, "of its own"]
    found = repeat_listing(read, 2)
    assert found["path"].tolist() == ["a#1", "a#2", "b", "c#1", "c#2"]
    assert found["index"].tolist() == [0, 1, -1, 2, 3]
    assert found["group"].tolist() == ["a", "a", "b", "of its own", "of its own"]


def test_own_photos_are_read_from_folder_and_archive(
    collect: Collect, write_images: Callable[..., Path], tmp_path: Path
) -> None:
    write_images("photos/a.png", "photos/deep/b.jpg")
    shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path, "photos")
    folder = collect(Blended("blended", Digits("digits"), PhotoFolder("folder", "photos")))
    archive = collect(Blended("blended", Digits("digits"), PhotoArchive("archive", "photos.zip")))
    assert np.array_equal(folder.images, archive.images)


def test_a_broken_photo_is_named(collect: Collect, write_images: Callable[..., Path]) -> None:
    root = write_images("photos/a.png")
    (root / "photos/b.png").write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"photo b\.png cannot be decoded .*repair or remove it"):
        collect(Blended("blended", Digits("digits"), PhotoFolder("folder", "photos")))


def test_photos_smaller_than_the_foreground_are_refused(collect: Collect, write_images: Callable[..., Path]) -> None:
    write_images("photos/a.png")
    with pytest.raises(DataError, match="no photo is as large as the foreground images, 32x32 pixels"):
        collect(Blended("blended", Digits("digits"), PhotoFolder("folder", "photos")), size=32)


def test_mnist_m_is_made_of_mnist_and_bsds(real_data: Path) -> None:
    digits = Idx("idx", "mnist/t10k-images-idx3-ubyte", "mnist/t10k-labels-idx1-ubyte")
    photos = PhotoArchive("archive", "bsds500_train.tar.xz")
    made = Blended("blended", digits, photos).collect(Request(ImageFormat(28, 3, "stretch"), real_data, 0, "target"))
    assert made.images.shape == (10000, 3, 28, 28)
    assert made.listing["given_class"].value_counts()["1"] == 1135
    assert len(np.unique(made.images[:, :, 0, 0], axis=0)) > 5000  # corners hold no ink, so they show the photos
