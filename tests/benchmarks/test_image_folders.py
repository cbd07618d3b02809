"""Folders that are made of archives: which images, on which side, the same every time."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import image_folders


def archive(path: Path, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def drawing(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray((pixels * 15.9).astype(np.uint8)).save(content, format="PNG")
    return content.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Archives like the real ones: digits as 4 characters of 2 alphabets, as 2 classes of photographs, as stamps."""
    digits = load_digits()
    images = {digit: [drawing(pixels) for pixels in digits.images[digits.target == digit][:20]] for digit in range(4)}
    every = [(digit, number, content) for digit, own in images.items() for number, content in enumerate(own)]
    folder = tmp_path / "data"
    alphabets = {f"background/alphabet{digit // 2}/character{digit}/{n}.png": content for digit, n, content in every}
    archive(folder / "omniglot.tar.xz", alphabets)
    sides = {f"cifar10/{'test' if n < 5 else 'train'}/{['cat', 'dog'][d % 2]}/{d}{n}.png": c for d, n, c in every}
    archive(folder / "cifar10.tar.xz", sides)
    rows = [f"images/{digit}-{n}.png,{'rare' if digit == n == 3 else 'common'}" for digit, n, _ in every]
    stamps = {f"stamps/images/{digit}-{n}.png": content for digit, n, content in every}
    archive(folder / "stamps.tar.xz", {"stamps/captions.csv": "\n".join(["path,topic", *rows]).encode(), **stamps})
    return folder


def found(folder: Path) -> dict[str, int]:
    """Images by class folder."""
    places = [path.parent.relative_to(folder).as_posix() for path in folder.rglob("*.png")]
    return {place: places.count(place) for place in sorted(set(places))}


def test_the_characters_are_none_that_chose_the_encoder(data: Path, tmp_path: Path) -> None:
    image_folders.characters(data, tmp_path / "images", first=2, count=2)
    order = np.random.default_rng(0).permutation([f"background/alphabet{n // 2}/character{n}" for n in range(4)])
    names = {"-".join(name.split("/")[-2:]) for name in order[2:4]}
    assert found(tmp_path / "images") == {f"{side}/{name}": 10 for side in ("train", "test") for name in names}


def test_photographs_are_as_many_as_asked_for_and_the_same_every_time(data: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        image_folders.photographs(data, tmp_path / name, [20, 3])
    assert found(tmp_path / "one") == {"test/cat": 10, "test/dog": 10, "train/cat": 20, "train/dog": 3}
    each = [
        {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.png")} for name in ("one", "other")
    ]
    assert each[0] == each[1]
    image_folders.photographs(data, tmp_path / "dogs", {"dog": 30})
    assert found(tmp_path / "dogs") == {"test/dog": 10, "train/dog": 30}


def test_stamps_are_sorted_by_topic(data: Path, tmp_path: Path) -> None:
    image_folders.stamps(data, tmp_path / "images")
    assert found(tmp_path / "images") == {"common": 79}
