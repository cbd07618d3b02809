"""Stores made in shards: the bytes of a store made in memory, whatever decodes the shards and however often it dies."""

import dataclasses
import functools
import io
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from repflow.data.ingest.decoders import local_decoders
from repflow.data.ingest.facts import image_facts
from repflow.data.ingest.ingestion import DataConfig, describe, ingest, without_directories
from repflow.data.ingest.shards import to_image_format
from repflow.data.ingest.sources.contract import Request
from repflow.data.store import ImagesFile, open_store, pixels_of, write_store
from repflow.errors import DataError, RepflowError, StorageError
from repflow.files import locked
from repflow.schema import build

COUNT = 60
FORM: dict[str, Any] = {"size": 16, "channels": 3, "resize": "crop"}
DIGITS = {"kind": "digits", "start": 0.9}
SOURCES = {
    "digits": DIGITS,
    "blended": {"kind": "blended", "foreground": DIGITS, "photos": {"kind": "bundled"}, "copies": 2},
    "folder": {"kind": "folder", "path": "set"},
    "table": {"kind": "table", "path": "table.csv"},
    "zip": {"kind": "archive", "path": "a.zip"},
    "tar": {"kind": "archive", "path": "a.tar"},
    "tgz": {"kind": "archive", "path": "a.tgz"},
    "huggingface": {"kind": "huggingface", "path": "hub"},
    "parquet": {"kind": "parquet", "path": "parquet/*.parquet"},
    "webdataset": {"kind": "webdataset", "path": "shards"},
    "domains": {"kind": "domains", "path": "set", "domains": ["b", "a"]},
}

HALTING = """
import contextlib, itertools, sys, time
from pathlib import Path
from repflow.data.ingest.decoders import local_decoders
from repflow.data.ingest.ingestion import DataConfig, ingest
from repflow.schema import build

@contextlib.contextmanager
def halting(shards, movable):
    with local_decoders(shards, movable, cores=CORES) as decoders:
        results = itertools.chain([decoders.result] * COUNT, [lambda future: time.sleep(10**6)])
        decoders.result = lambda future: next(results)(future)
        yield decoders

if __name__ == "__main__":
    root = Path(sys.argv[1])
    config = build(DataConfig, VALUES, "test")
    ingest(config, "source", 0, root, root / "store", open_decoders=halting, shard=4)
"""
"""An ingestion that goes no further once it has stored so many shards of four files."""


def config(source: dict[str, Any], form: dict[str, Any] = FORM) -> DataConfig:
    return build(DataConfig, {**form, "source": source, "target": {"kind": "none"}}, "test")


def content(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every source, some damaged, in an order that is not that of their paths."""
    root = tmp_path_factory.mktemp("files")
    draw = np.random.default_rng(0)
    names = [f"{'ab'[number % 2]}/{number:03}.{('png', 'jpg')[number % 3 > 0]}" for number in range(COUNT)]
    for number, name in enumerate(names):
        place = root / "set" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        height, width = draw.integers(16, 40, 2)
        Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(place)
        if number in (0, 17, 18, 59):
            place.write_bytes(place.read_bytes()[:50])
    random.Random(0).shuffle(names)
    lines = [f"set/{name},{name[0]},{'' if number % 5 else 'test'},g{number // 3}" for number, name in enumerate(names)]
    (root / "table.csv").write_text("\n".join(["path,label,split,group", *lines]))
    with zipfile.ZipFile(root / "a.zip", "w") as packed:
        for name in names:
            packed.write(root / "set" / name, name)
    for kind, mode in (("tar", "w"), ("tgz", "w:gz")):
        with tarfile.open(root / f"a.{kind}", mode) as archive:
            for name in names:
                archive.add(root / "set" / name, name)
    write_sets(root, names)
    return root


def write_sets(root: Path, names: list[str]) -> None:
    """The same files as a Hugging Face folder, as Parquet files, and as shards of samples."""
    shutil.copytree(root / "set", root / "hub")
    (root / "hub/metadata.csv").write_text("\n".join(["file_name,label", *(f"{name},{name[0]}" for name in names)]))
    for folder in ("parquet", "shards"):
        (root / folder).mkdir()
    for number in range(2):
        part = names[number::2]
        images = [(root / "set" / name).read_bytes() for name in part]
        table = pa.table({"image": images, "label": [name[0] for name in part]})
        parquet.write_table(table, root / f"parquet/{number}.parquet", row_group_size=7)
        with tarfile.open(root / f"shards/{number}.tar", "w") as archive:
            for name, image in zip(part, images, strict=True):
                key, ending = Path(name).name.split(".")
                for member, content in ((ending, image), ("cls", name[0].encode())):
                    entry = tarfile.TarInfo(f"{key}.{member}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))


@pytest.fixture
def in_memory(files: Path, tmp_path: Path) -> Callable[[dict[str, Any]], dict[str, bytes]]:
    """The store of a source whose images are all in memory at once."""

    def make(source: dict[str, Any], root: Path = files, form: dict[str, Any] = FORM) -> dict[str, bytes]:
        made = config(source, form)
        collected = made.source.collect(Request(made.form, root, 0, "ingest/source"))
        images = to_image_format(collected.images, made.form)
        origin = {"seed": 0, "source": without_directories(dataclasses.asdict(made.source))}
        write_store(tmp_path / "memory", images, *describe(collected.listing, images), origin)
        return content(tmp_path / "memory")

    return make


@pytest.mark.parametrize("kind", SOURCES)
def test_a_store_has_the_bytes_of_one_made_in_memory_whatever_the_shards_and_cores(
    files: Path, tmp_path: Path, in_memory: Callable[..., dict[str, bytes]], kind: str
) -> None:
    expected = in_memory(SOURCES[kind])
    for shard, cores in ((None, 1), (1, 2), (7, 3), (COUNT, 8)):
        decoders = functools.partial(local_decoders, cores=cores)
        ingest(config(SOURCES[kind]), "source", 0, files, tmp_path / "store", open_decoders=decoders, shard=shard)
        assert content(tmp_path / "store") == expected, (shard, cores)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory", "store"]
    images = open_store(tmp_path / "store").images
    assert len(images) == {"digits": 180, "blended": 360}.get(kind, COUNT - 4)


def shards(root: Path) -> list[Path]:
    return sorted(root.glob(".store.shards/*/*.parquet"))


def killed_after(
    count: int, root: Path, source: dict[str, Any], script: Path, cores: int = 2, form: dict[str, Any] = FORM
) -> int:
    """Kill an ingestion with SIGKILL once it has stored so many shards; the number of its session."""
    values = {"VALUES": {**form, "source": source, "target": {"kind": "none"}}, "CORES": cores, "COUNT": count}
    text = HALTING
    for name, value in values.items():
        text = text.replace(name, repr(value))
    script.write_text(text)
    with subprocess.Popen([sys.executable, str(script), str(root)], start_new_session=True) as child:
        while len(shards(root)) < count:
            assert child.poll() is None
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
    return child.pid


@pytest.fixture
def own_files(files: Path, tmp_path: Path) -> Path:
    """A copy of the files, in which a test may change something."""
    shutil.copytree(files, tmp_path / "own")
    return tmp_path / "own"


@pytest.mark.parametrize("kind", ["folder", "table", "zip", "tgz", "huggingface", "parquet", "webdataset", "domains"])
def test_a_killed_ingestion_goes_on_where_it_was_with_the_same_bytes(
    own_files: Path,
    tmp_path: Path,
    in_memory: Callable[..., dict[str, bytes]],
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    killed_after(3, own_files, SOURCES[kind], tmp_path / "halting.py")
    caplog.set_level("INFO", "repflow")
    ingest(config(SOURCES[kind]), "source", 0, own_files, own_files / "store", shard=4)
    assert "ingest@source: goes on after" in caplog.text
    assert content(own_files / "store") == in_memory(SOURCES[kind])
    assert not (own_files / ".store.shards").exists()


def test_a_killed_ingestion_finds_the_same_size_and_goes_on(
    own_files: Path, tmp_path: Path, in_memory: Callable[..., dict[str, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    found = {**FORM, "size": None}
    killed_after(3, own_files, SOURCES["folder"], tmp_path / "halting.py", form=found)
    caplog.set_level("INFO", "repflow")
    ingest(config(SOURCES["folder"], found), "source", 0, own_files, own_files / "store", shard=4)
    assert "ingest@source: goes on after" in caplog.text
    size = open_store(own_files / "store").images.shape[-1]
    assert 16 < size < 40
    assert content(own_files / "store") == in_memory(SOURCES["folder"], form={**FORM, "size": size})


@pytest.mark.parametrize("damage", ["images", "rows", "short"])
def test_what_a_killed_ingestion_left_damaged_is_decoded_again(
    own_files: Path,
    tmp_path: Path,
    in_memory: Callable[..., dict[str, bytes]],
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    killed_after(4, own_files, SOURCES["folder"], tmp_path / "halting.py")
    rows = shards(own_files)
    images = rows[0].with_name("images.npy")
    if damage == "images":
        written = bytearray(images.read_bytes())
        written[128 + 5 * 768] ^= 1  # in the second shard
        images.write_bytes(written)
    elif damage == "rows":
        rows[1].write_bytes(b"")
    else:
        images.write_bytes(images.read_bytes()[: 128 + 6 * 768])
    caplog.set_level("INFO", "repflow")
    ingest(config(SOURCES["folder"]), "source", 0, own_files, own_files / "store", shard=4)
    assert "goes on after 4 files of 60" in caplog.text
    assert content(own_files / "store") == in_memory(SOURCES["folder"])


@pytest.mark.parametrize("kind", ["folder", "table", "zip", "huggingface", "parquet", "domains"])
def test_files_that_have_changed_since_are_read_again(
    own_files: Path, tmp_path: Path, in_memory: Callable[..., dict[str, bytes]], kind: str
) -> None:
    killed_after(3, own_files, SOURCES[kind], tmp_path / "halting.py")
    if kind == "zip":
        with zipfile.ZipFile(own_files / "a.zip", "w") as packed:
            for place in sorted((own_files / "set").rglob("*.png")):
                packed.write(place, place.relative_to(own_files / "set"))
    elif kind == "parquet":
        place = own_files / "parquet/0.parquet"
        table = parquet.read_table(place)
        parquet.write_table(table.take(list(reversed(range(len(table))))), place, row_group_size=7)
    else:
        for place in sorted((own_files / ("hub" if kind == "huggingface" else "set")).rglob("*.*g"))[::2]:
            size = place.stat().st_size
            again = io.BytesIO()
            Image.new("RGB", (16, 16), (1, 2, 3)).save(again, "png")
            place.write_bytes(again.getvalue().ljust(size, b"\0"))  # as many bytes as before
    ingest(config(SOURCES[kind]), "source", 0, own_files, own_files / "store", shard=4)
    assert content(own_files / "store") == in_memory(SOURCES[kind], root=own_files)


def test_processes_end_with_a_killed_ingestion(own_files: Path, tmp_path: Path) -> None:
    group = killed_after(2, own_files, SOURCES["folder"], tmp_path / "halting.py", cores=8)
    while members(group):  # what decodes does not outlive the ingestion
        time.sleep(0.1)


def members(group: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == group and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def test_several_processes_decode_on_many_cores() -> None:
    with local_decoders(9, movable=True, cores=8) as decoders:
        assert decoders.ahead == 4
    with local_decoders(9, movable=False, cores=8) as decoders:
        assert decoders.ahead == 1


def test_a_store_that_another_process_makes_is_refused(files: Path, tmp_path: Path) -> None:
    with (
        locked(tmp_path / ".store.shards", "is making the same store"),
        pytest.raises(RepflowError, match=r"\.store\.shards: another process is making the same store; wait for it"),
    ):
        ingest(config(SOURCES["folder"]), "source", 0, files, tmp_path / "store")


def test_nothing_is_left_where_data_are_wrong(files: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(files / "set/a", "x/a")
        archive.addfile(directory("x/empty"))
    with pytest.raises(DataError, match="has no image"):
        ingest(config(SOURCES["tar"]), "source", 0, tmp_path, tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def directory(name: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode = tarfile.DIRTYPE, 0o755
    return made


def test_nothing_is_left_where_the_disk_is_full(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # the images have 43,008 bytes
    try:
        with pytest.raises(StorageError, match=r"store: cannot be written .*; no partial file was left"):
            ingest(config(SOURCES["folder"]), "source", 0, files, tmp_path / "store", shard=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not any(tmp_path.iterdir())


def test_no_more_than_some_shards_are_in_memory(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from repflow.data.ingest.ingestion import DataConfig, ingest;"
        " from repflow.schema import build; root = Path(sys.argv[1]);"
        " values = {'size': 256, 'channels': 3, 'resize': 'crop', 'source': {'kind': 'folder', 'path': 'set'},"
        " 'target': {'kind': 'none'}};"
        " ingest(build(DataConfig, values, 'test'), 'source', 0, root, root / 'store', shard=50);"
        " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    peaks = []
    for count in (100, 500):
        for number in range(count):
            place = tmp_path / str(count) / "set" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (number % 256, 0, 0)).save(place)
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / str(count))], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 40, peaks  # megabytes; the further images have 75


def test_an_unfinished_file_of_images_can_be_continued(tmp_path: Path) -> None:
    images = np.arange(5 * 12, dtype=np.uint8).reshape(5, 3, 2, 2)
    unfinished = ImagesFile(tmp_path / "images.npy", (3, 2, 2))
    unfinished.append(images[:4])
    assert np.array_equal(pixels_of(tmp_path / "images.npy", (3, 2, 2)), images[:4])
    with ImagesFile(tmp_path / "images.npy", (3, 2, 2), keep=2) as file:
        file.append(images[2:])
    assert np.array_equal(np.load(tmp_path / "images.npy"), images)
    np.save(tmp_path / "numpy.npy", images)
    assert (tmp_path / "images.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_statistics_of_an_image_do_not_depend_on_those_beside_it() -> None:
    images = np.random.default_rng(0).integers(0, 256, (37, 3, 24, 24), dtype=np.uint8)
    whole = image_facts(images)
    for first in range(37):
        for name, column in image_facts(images[first : first + 1]).items():
            assert column[0] == whole[name][first], name
