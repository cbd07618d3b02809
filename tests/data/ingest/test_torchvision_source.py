"""Data sets of torchvision: by name, with the splits that each has."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repflow.data.ingest.sources.contract import Collected
from repflow.data.ingest.sources.torchvision import Torchvision
from repflow.errors import DataError, ParameterError

Collect = Callable[..., Collected]
pytest.importorskip("torchvision")


def test_a_set_with_a_training_and_a_test_part(collect: Collect, tmp_path: Path) -> None:
    raw = tmp_path / "sets/MNIST/raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 3), ("t10k", 2)):
        images = np.full((count, 28, 28), count * 50, np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">HBB3I", 0, 8, 3, *images.shape) + images.tobytes()
        )
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + bytes(range(count)))
    collected = collect(Torchvision("torchvision", "MNIST", "sets"), channels=1)
    assert collected.images[:, 0, 0, 0].tolist() == [150] * 3 + [100] * 2
    assert collected.listing["split"].tolist() == ["train"] * 3 + ["test"] * 2
    assert collected.listing["given_class"].tolist()[:2] == ["0 - zero", "1 - one"]
    assert collected.listing["path"][4] == "MNIST/test/000004"


def test_a_set_with_named_splits(collect: Collect, write_images: Callable[..., Path]) -> None:
    folders = ("train", "valid", "test")
    write_images(*(f"rendered-sst2/{folder}/{name}/1.png" for folder in folders for name in ("negative", "positive")))
    listing = collect(Torchvision("torchvision", "RenderedSST2", ".")).listing
    assert sorted(set(listing["split"])) == ["test", "train", "validation"]
    assert listing["given_class"].tolist() == ["negative", "positive"] * 3
    one = collect(Torchvision("torchvision", "RenderedSST2", ".", settings={"split": "val"})).listing
    assert one["given_class"].tolist() == ["negative", "positive"]


def test_a_set_without_splits(collect: Collect) -> None:
    settings = {"size": 5, "num_classes": 3}
    collected = collect(Torchvision("torchvision", "FakeData", settings=settings), size=32)
    assert collected.images.shape == (5, 3, 32, 32)
    assert set(collected.listing["given_class"]) <= {"0", "1", "2"}
    assert collected.listing["split"].isna().all()


def test_an_unknown_name_is_refused_with_the_nearest(collect: Collect) -> None:
    with pytest.raises(ParameterError, match="torchvision has no data set 'CIFAR'; did you mean CIFAR10"):
        collect(Torchvision("torchvision", "CIFAR"))


def test_a_missing_data_set_is_refused_with_a_hint_to_download_it(collect: Collect) -> None:
    with pytest.raises(DataError, match=r"CIFAR10: cannot be opened .*set `download: true`"):
        collect(Torchvision("torchvision", "CIFAR10", "nowhere"))


def test_an_unknown_setting_is_refused(collect: Collect) -> None:
    with pytest.raises(DataError, match=r"FakeData: cannot be opened .*sise"):
        collect(Torchvision("torchvision", "FakeData", settings={"sise": 5}))


def test_a_set_whose_labels_are_no_classes_is_refused(collect: Collect, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import FakeData

    load = FakeData.__getitem__
    monkeypatch.setattr(FakeData, "__getitem__", lambda self, row: (load(self, row)[0], (1.5, 2)))
    with pytest.raises(DataError, match="FakeData: the label of an image is of type tuple, but must be a class number"):
        collect(Torchvision("torchvision", "FakeData", settings={"size": 2}))
