"""From a source to a store: every file has a row, and the bytes are the same on every machine and every run."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from repflow.data.ingest.facts import image_facts
from repflow.data.ingest.ingestion import DataConfig, describe, ingest, without_directories
from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.shards import to_image_format
from repflow.data.ingest.sources.contract import listing
from repflow.data.store import COLUMNS, Store, open_store, write_store
from repflow.errors import DataError
from repflow.schema import build

CHOICES = Path(__file__).parents[3] / "conf/data"
BLENDED = {
    "kind": "blended",
    "foreground": {"kind": "digits", "start": 0.95},
    "photos": {"kind": "bundled"},
}


def made(folder: Path, source: dict[str, Any], domain: str = "source", root: Path | None = None, **form: Any) -> Store:
    values = {"size": 16, "channels": 3, "resize": "stretch", **form}
    values |= {"source": {"kind": "none"}, "target": {"kind": "none"}, domain: source}
    ingest(build(DataConfig, values, "test"), domain, 0, root or folder, folder / "store")
    return open_store(folder / "store")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "store").iterdir()}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_store_has_images_in_its_format_and_their_statistics(tmp_path: Path, channels: int) -> None:
    store = made(tmp_path, {"kind": "digits", "start": 0.9}, size=20, channels=channels)
    assert store.images.shape == (180, channels, 20, 20)
    assert store.images.dtype == np.uint8
    assert store.classes == tuple("0123456789")
    assert store.manifest.dtypes.astype(str).to_dict() == COLUMNS
    assert [store.classes[label] for label in store.manifest["label"]] == store.manifest["given_class"].tolist()
    for name, column in image_facts(np.asarray(store.images)).items():
        assert store.manifest[name].tolist() == column.tolist()


def test_a_store_is_the_same_bytes_in_another_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made(tmp_path / name, BLENDED, "target")
    made(tmp_path / "b", BLENDED, "target")  # and when it is made again
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert set(content(tmp_path / "a")) == {"images.npy", "manifest.parquet", "store.json"}


def test_a_store_is_the_same_bytes_on_any_number_of_cores(
    tmp_path: Path, write_images: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_images(*(f"set/{number % 7}/{number}.png" for number in range(300)))
    contents = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, cores=cores: set(range(cores)), raising=False)
        made(tmp_path, {"kind": "folder", "path": "set"}, root=root)
        contents.append(content(tmp_path))
    assert contents[0] == contents[1] == contents[2]


def test_a_store_contains_no_absolute_path(tmp_path: Path, write_images: Callable[..., Path]) -> None:
    write_images("set/cat/1.png")
    made(tmp_path, {"kind": "folder", "path": str(tmp_path / "set")})
    assert not any(
        str(tmp_path).encode() in part or tmp_path.name.encode() in part for part in content(tmp_path).values()
    )
    assert without_directories({"path": "/a/b/c.zip", "many": ["x/y", "z"], "n": 1}) == {
        "path": "c.zip",
        "many": ["y", "z"],
        "n": 1,
    }


def test_unreadable_files_stay_in_the_manifest(tmp_path: Path, write_images: Callable[..., Path]) -> None:
    root = write_images("set/cat/2.png", "set/dog/3.png")
    (root / "set/cat/1.png").write_bytes(b"damaged")
    (root / "set/only").mkdir()
    (root / "set/only/1.png").write_bytes(b"damaged")
    store = made(tmp_path, {"kind": "folder", "path": "set"})
    manifest = store.manifest.set_index("path")
    assert manifest["index"].to_dict() == {"cat/1.png": -1, "cat/2.png": 0, "dog/3.png": 1, "only/1.png": -1}
    assert store.classes == ("cat", "dog", "only")
    bad = manifest.loc["cat/1.png"]
    assert bad["reason"] == "not an image in a supported format"
    assert bad["label"] == 0
    assert pd.isna(bad["sha256"])
    assert (bad["width"], bad["brightness"], bad["phash"]) == (-1, -1, 0)
    assert store.readable.index.tolist() == [1, 2]


def test_a_source_with_nothing_readable_is_refused(tmp_path: Path, write_images: Callable[..., Path]) -> None:
    root = write_images("set/cat/1.png")
    (root / "set/cat/1.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"data.source: none of 1 files can be decoded; the first is cat/1\.png: the file is empty"
    ):
        made(tmp_path, {"kind": "folder", "path": "set"})
    assert not (tmp_path / "store").exists()


def test_a_target_may_be_none_but_a_source_may_not(tmp_path: Path) -> None:
    store = made(tmp_path, {"kind": "none"}, "target", channels=1, size=24)
    assert store.images.shape == (0, 1, 24, 24)
    assert store.classes == ()
    assert store.manifest.dtypes.astype(str).to_dict() == COLUMNS
    with pytest.raises(DataError, match=r"data\.source: has no images; the source needs images"):
        made(tmp_path, {"kind": "none"})


def test_the_log_shows_images_throughput_and_unreadable_files(
    tmp_path: Path, write_images: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = write_images("set/cat/1.png", "set/cat/2.png")
    (root / "set/cat/3.png").write_bytes(b"")
    caplog.set_level("INFO", "repflow")
    made(tmp_path, {"kind": "folder", "path": "set"})
    line = r"ingest@source: 2 images in \d+\.\d s \([\d,]+ images/s\), 1 unreadable"
    assert re.search(line, caplog.text)
    assert "ingest@source: cat/3.png: the file is empty" in caplog.text
    assert "ingest@source: found 2 images; 1 classes: cat 2; no given splits; no groups" in caplog.text


def test_classes_that_were_hardly_meant_are_warned_of(
    tmp_path: Path, write_images: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    write_images("set/train/cat/1.png", "set/eval/cat/2.png")
    made(tmp_path, {"kind": "folder", "path": "set"})
    assert "ingest@source: what looks like the names of splits are taken for a class: 'eval', 'train'" in caplog.text


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "10", "9", None]), st.booleans()), max_size=20))
@settings(deadline=None)
def test_every_listed_file_has_one_row_with_its_own_statistics(
    files: list[tuple[str | None, bool]],
) -> None:
    readable = np.array([good for _, good in files], dtype=bool)
    images = np.arange(readable.sum(), dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 8, 8), np.uint8)
    index = np.where(readable, np.cumsum(readable) - 1, -1)
    names = [f"{number}.png" for number in range(len(files))]
    rows = listing(names, index=index, given_class=pd.Series([name for name, _ in files], dtype=object))
    manifest, classes = describe(rows, images)
    assert manifest["path"].tolist() == names
    assert manifest["brightness"].tolist() == [place if place >= 0 else -1 for place in index.tolist()]
    assert [classes[label] if label >= 0 else None for label in manifest["label"]] == [name for name, _ in files]


def test_colours_become_grey_and_grey_becomes_colours() -> None:
    red = np.zeros((1, 3, 8, 8), np.uint8)
    red[:, 0] = 255
    assert np.unique(to_image_format(red, ImageFormat(8, 1, "stretch"))).tolist() == [76]
    one = to_image_format(np.full((2, 1, 8, 8), 9, np.uint8), ImageFormat(8, 3, "stretch"))
    assert one.shape == (2, 3, 8, 8)
    assert one.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("choice", sorted(path.name for path in CHOICES.glob("*.yaml")))
def test_every_choice_of_data_fits_the_schema(choice: str) -> None:
    loaded = OmegaConf.load(CHOICES / choice)
    config = loaded if "data" in loaded else OmegaConf.create({"data": loaded})
    for domain in ("source", "target"):
        if OmegaConf.is_missing(config.data[domain], "path"):
            config.data[domain].path = "somewhere"
        if OmegaConf.is_missing(config.data[domain], "domains"):
            config.data[domain].domains = ["one"]
    values = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(values, dict)
    build(DataConfig, values, choice)


def test_a_truncated_store_is_refused(tmp_path: Path) -> None:
    made(tmp_path, {"kind": "digits", "start": 0.9})
    images = tmp_path / "store/images.npy"
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(DataError, match="not a readable store"):
        open_store(tmp_path / "store")


def test_an_empty_store_can_be_written_and_read(tmp_path: Path) -> None:
    manifest, classes = describe(listing([]), np.zeros((0, 3, 8, 8), np.uint8))
    write_store(tmp_path / "store", np.zeros((0, 3, 8, 8), np.uint8), manifest, classes, {})
    assert len(open_store(tmp_path / "store").readable) == 0


def test_ingesting_does_not_import_torch() -> None:
    code = "import sys; import repflow.stages.ingest; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mnist_comes_in_fast(tmp_path: Path, real_data: Path) -> None:
    source = {"kind": "idx", "images": "mnist/train-images-idx3-ubyte", "labels": "mnist/train-labels-idx1-ubyte"}
    started = time.process_time()
    store = made(tmp_path, source, size=28, root=real_data)
    assert store.images.shape == (60000, 3, 28, 28)
    assert time.process_time() - started < 15  # seconds of processor time; benchmarks/throughput.py measures
