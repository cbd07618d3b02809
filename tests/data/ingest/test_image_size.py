"""Where no size is given, the images of the source say it: by their headers, and for both domains."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from repflow.data.ingest.image_size import ANY, SAMPLE, find_size
from repflow.data.ingest.ingestion import DataConfig, ingest
from repflow.data.ingest.sources import archive, blended, digits, folder, idx, table
from repflow.data.ingest.sources.contract import Request
from repflow.data.ingest.sources.photos import BundledPhotos
from repflow.data.store import open_store
from repflow.errors import DataError, ParameterError
from repflow.schema import build

FOLDER = {"kind": "folder", "path": "set"}
MIXED = [(20, 90), (90, 40), (41, 41), (300, 42), (50, 50)]  # the shorter sides are 20, 40, 41, 42 and 50


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (width % 256, height % 256, 7)).save(file, "png")
    return file.getvalue()


def write(root: Path, sizes: Sequence[tuple[int, int]], name: str = "set") -> Path:
    """A folder of images of one class."""
    (root / name / "cat").mkdir(parents=True)
    for number, size in enumerate(sizes):
        (root / name / f"cat/{number:04}.png").write_bytes(png(*size))
    return root


def size_of(root: Path, domain: str = "source", **values: Any) -> int:
    """The size of the images in a store of the domain."""
    given = {"size": None, "channels": 3, "resize": "crop", "target": {"kind": "none"}, **values}
    ingest(build(DataConfig, given, "data"), domain, 0, root, root / "stores" / domain)
    side: int = open_store(root / "stores" / domain).images.shape[-1]
    return side


@pytest.mark.parametrize(
    ("side", "size"), [(105, 64), (66, 64), (62, 64), (61, 60), (33, 32), (30, 32), (28, 28), (18, 20), (10, 16)]
)
def test_the_size_is_that_of_the_images_within_limits(tmp_path: Path, side: int, size: int) -> None:
    assert size_of(write(tmp_path, [(side, side + 9)]), source=FOLDER) == size


def test_the_median_of_the_shorter_sides_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, MIXED)
    (tmp_path / "set/cat/0005.png").write_bytes(b"no image")
    (tmp_path / "set/notes.txt").write_text("no image")
    caplog.set_level("INFO", "repflow")
    assert size_of(tmp_path, source=FOLDER) == 40
    line = "ingest@source: images of 40 pixels, as the median of the shorter sides of 5 images of the source is 41"
    assert line in caplog.text
    assert caplog.text.count("notes.txt") == 1


def test_only_larger_images_than_allowed_are_made_smaller(tmp_path: Path) -> None:
    write(tmp_path, [(200, 300)])
    assert size_of(tmp_path, source=FOLDER, most=96) == 96
    assert size_of(tmp_path, source=FOLDER, size=24, most=96) == 24
    with pytest.raises(ParameterError, match=r"data\.most: 50 is not allowed.*multiple of 4"):
        size_of(tmp_path, source=FOLDER, most=50)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """The mixed images in every kind of source that has files."""
    root = write(tmp_path, MIXED)
    names = [f"cat/{number:04}.png" for number in range(len(MIXED))]
    (root / "t.csv").write_text("\n".join(["path,label", *(f"set/{name},cat" for name in reversed(names))]))
    with zipfile.ZipFile(root / "a.zip", "w") as pack:
        for name in names:
            pack.write(root / "set" / name, name)
    (root / "shards").mkdir()
    with tarfile.open(root / "a.tgz", "w:gz") as tar, tarfile.open(root / "shards/1.tar", "w") as samples:
        for name in names:
            tar.add(root / "set" / name, name)
            samples.add(root / "set" / name, Path(name).name)
            label = tarfile.TarInfo(f"{Path(name).stem}.cls")
            label.size = 3
            samples.addfile(label, io.BytesIO(b"cat"))
    images = pa.table({"image": [png(*size) for size in MIXED], "label": ["cat"] * len(MIXED)})
    parquet.write_table(images, root / "p.parquet")
    (root / "set/metadata.csv").write_text("\n".join(["file_name,text", *(f"{name},x" for name in names)]))
    return root


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "archive", "path": "a.zip"},
        {"kind": "archive", "path": "a.tgz"},
        {"kind": "table", "path": "t.csv"},
        {"kind": "huggingface", "path": "set"},
        {"kind": "parquet", "path": "p.parquet"},
        {"kind": "webdataset", "path": "shards"},
        {"kind": "domains", "domains": ["set"]},
    ],
    ids=lambda source: str(source.get("path", "domains")),
)
def test_every_kind_of_source_says_its_size(packed: Path, source: dict[str, Any]) -> None:
    assert size_of(packed, source=source) == 40


def test_arrays_have_a_size_of_their_own(tmp_path: Path) -> None:
    header = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 30])
    (tmp_path / "images").write_bytes(header + bytes(2 * 28 * 30))
    assert size_of(tmp_path, source={"kind": "idx", "images": "images"}) == 28
    assert size_of(tmp_path, source={"kind": "digits", "start": 0.99}) == 16
    blend = {"kind": "blended", "foreground": {"kind": "idx", "images": "images"}, "photos": {"kind": "bundled"}}
    assert size_of(tmp_path, source=blend) == 28


def test_the_target_follows_the_source(tmp_path: Path) -> None:
    write(tmp_path, [(52, 70)])
    write(tmp_path, [(33, 33)], "other")
    domains = {"source": FOLDER, "target": {"kind": "folder", "path": "other"}}
    assert size_of(tmp_path, "target", **domains) == 52
    assert size_of(tmp_path, "target", source=FOLDER) == 52  # without images


def test_images_are_evenly_spaced_in_the_listing(tmp_path: Path) -> None:
    """Of 1,500 images the first 700 are small; among the 1,000 that are looked at they are not the majority."""
    write(tmp_path, [(20, 20)] * 700 + [(40, 40)] * 800)
    found = find_size(folder.Folder("folder", "set"), request(tmp_path), 64)
    assert (found.size, found.middle, found.count) == (40, 40, SAMPLE)


def request(root: Path) -> Request:
    return Request(ANY, root, 0, "ingest/source")


def test_pixels_are_not_decoded_nor_files_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [(40, 50)])
    place = tmp_path / "set/cat/0000.png"
    place.write_bytes(png(40, 50)[:60] + bytes(100))  # the header is whole

    def refuse(*arguments: object) -> None:
        raise AssertionError("was read whole")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Image.Image, "load", refuse)
    assert find_size(folder.Folder("folder", "set"), request(tmp_path), 64).size == 40


def test_a_source_without_a_readable_image_is_refused_as_ever(tmp_path: Path) -> None:
    write(tmp_path, [])
    (tmp_path / "set/cat/1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of 1 files can be decoded; the first is cat/1\.png"):
        size_of(tmp_path, source=FOLDER)
    with pytest.raises(DataError, match="has no images"):
        size_of(tmp_path, source={"kind": "none"})
    with pytest.raises(DataError, match="nowhere: no such folder"):
        size_of(tmp_path, source={"kind": "folder", "path": "nowhere"})


@pytest.mark.parametrize(
    "source",
    [
        lambda: folder.Folder("folder", "set"),
        lambda: archive.Archive("archive", "a.tgz"),
        lambda: table.Table("table", "t.csv"),
        lambda: digits.Digits("digits", 0.99),
        lambda: idx.Idx("idx", "images"),
        lambda: blended.Blended("blended", folder.Folder("folder", "set"), BundledPhotos("bundled")),
    ],
)
def test_a_found_size_gives_the_bytes_of_the_same_size_that_is_given(packed: Path, source: Callable[[], Any]) -> None:
    header = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 30])
    (packed / "images").write_bytes(header + bytes(np.arange(2 * 28 * 30, dtype=np.uint8) % 251))
    (packed / "set/metadata.csv").unlink()
    stores = []
    size = find_size(source(), request(packed), 64).size
    for given in (None, size):
        config = DataConfig(given, 3, "pad", source(), build(DataConfig, NOTHING, "data").target)
        ingest(config, "source", 0, packed, packed / "store")
        stores.append({path.name: path.read_bytes() for path in (packed / "store").iterdir()})
    assert stores[0] == stores[1]


NOTHING = {"size": 16, "channels": 3, "resize": "pad", "source": {"kind": "none"}, "target": {"kind": "none"}}
