"""What DVC watches is what `ingest` reads: every file that a source opens lies in what is watched."""

import contextlib
import io
import os
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from dvc.repo import Repo
from PIL import Image
from pyarrow import parquet

from repflow.data.ingest.ingestion import DataConfig
from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.sources.contract import Request
from repflow.data.watched import SIZE, UNWATCHED, check_watched, labels_file, watched, with_home
from repflow.errors import ParameterError
from repflow.schema import build

ROOT = Path(__file__).parents[2]
FORM: dict[str, Any] = {"size": 16, "channels": 3, "resize": "stretch"}
NONE = {"kind": "none"}
IDX = {"kind": "idx", "images": "idx/images", "labels": "idx/labels.gz"}
FOLDER = {"kind": "folder", "path": "images"}
SOURCES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "folder": (FOLDER, {"images": "raw/images"}),
    "folder with a slash": ({"kind": "folder", "path": "./images/"}, {"images": "raw/images"}),
    "folder that is a link": ({"kind": "folder", "path": "link"}, {"images": "raw/link"}),
    "archive": ({"kind": "archive", "path": "images.tar"}, {"images": "raw/images.tar"}),
    "table": ({"kind": "table", "path": "t.csv", "images": "images"}, {"images": "raw/images", "table": "raw/t.csv"}),
    "table and its folder": ({"kind": "table", "path": "t2/t.csv"}, {"images": "raw/t2", "table": "raw/t2/t.csv"}),
    "idx": (IDX, {"images": "raw/idx"}),
    "blended": (
        {"kind": "blended", "foreground": FOLDER, "photos": {"kind": "archive", "path": "images.tar"}},
        {"images": "raw/images", "photos": "raw/images.tar"},
    ),
    "digits": ({"kind": "digits"}, {}),
    "torchvision": ({"kind": "torchvision", "name": "MNIST", "path": "sets"}, {"images": "raw/sets"}),
    "huggingface": ({"kind": "huggingface", "path": "hub"}, {"images": "raw/hub"}),
    "parquet": ({"kind": "parquet", "path": "parquet"}, {"images": "raw/parquet"}),
    "one Parquet file": (
        {"kind": "parquet", "path": "parquet/train-00000-of-00001.parquet"},
        {"images": "raw/parquet/train-00000-of-00001.parquet"},
    ),
    "pattern of Parquet files": (
        {"kind": "parquet", "path": "parquet/train-*-of-{00001..00001}.parquet"},
        {"images": "raw/parquet"},
    ),
    "webdataset": ({"kind": "webdataset", "path": "shards"}, {"images": "raw/shards"}),
    "webdataset and its classes": (
        {"kind": "webdataset", "path": "shards/train-{0..0}.tar", "classes": "names.txt"},
        {"images": "raw/shards", "table": "raw/names.txt"},
    ),
    "cifar": ({"kind": "cifar", "path": "cifar"}, {"images": "raw/cifar"}),
    "one domain": ({"kind": "domains", "path": "domains", "domains": ["photo"]}, {"images": "raw/domains/photo"}),
    "several domains": ({"kind": "domains", "path": "domains", "domains": ["photo", "art"]}, {"images": "raw/domains"}),
    "a domain that is spelt otherwise": (
        {"kind": "domains", "path": "domains", "domains": ["PHOTO"]},
        {"images": "raw/domains"},
    ),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with images of every kind in raw/; the working directory."""
    monkeypatch.chdir(tmp_path)
    write_raw()
    return tmp_path


def write_raw() -> None:
    """Write images of every kind to raw/."""
    content = io.BytesIO()
    Image.fromarray(np.arange(20 * 20 * 3, dtype=np.uint8).reshape(20, 20, 3)).save(content, "png")
    for folder in ("raw/images/cat", "raw/t2", "raw/idx"):
        Path(folder).mkdir(parents=True)
    for name in ("raw/images/cat/1.png", "raw/t2/1.png"):
        Path(name).write_bytes(content.getvalue())
    Path("raw/t.csv").write_text("path,label\ncat/1.png,cat\n")
    Path("raw/t2/t.csv").write_text("path,label\n1.png,cat\n")
    Path("raw/idx/images").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4]))
    Path("raw/idx/labels").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    for folder in ("raw/hub", "raw/parquet", "raw/shards", "raw/cifar", "raw/domains/photo/cat", "raw/domains/art/cat"):
        Path(folder).mkdir(parents=True)
    for name in ("raw/hub/1.png", "raw/domains/photo/cat/1.png", "raw/domains/art/cat/1.png"):
        Path(name).write_bytes(content.getvalue())
    Path("raw/hub/metadata.csv").write_text("file_name,label\n1.png,cat\n")
    parquet.write_table(
        pa.table({"image": [content.getvalue()], "label": ["cat"]}), "raw/parquet/train-00000-of-00001.parquet"
    )
    Path("raw/names.txt").write_text("cat\n")
    Path("raw/0.cls").write_text("0")
    with tarfile.open("raw/shards/train-0.tar", "w") as archive:
        archive.add("raw/0.cls", "0.cls")
        archive.add("raw/images/cat/1.png", "0.png")
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        Path(f"raw/cifar/{name}.bin").write_bytes(bytes(3073))
    with tarfile.open("raw/images.tar", "w") as archive:
        archive.add("raw/images/cat/1.png", "cat/1.png")
    Path("raw/link").symlink_to("images")
    Path("raw/sets/MNIST/raw").mkdir(parents=True)
    for name in ("train", "t10k"):
        header = struct.pack(">HBB3I", 0, 8, 3, 1, 28, 28)
        Path(f"raw/sets/MNIST/raw/{name}-images-idx3-ubyte").write_bytes(header + bytes(28 * 28))
        Path(f"raw/sets/MNIST/raw/{name}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 1) + bytes(1))


@pytest.fixture
def opened(project: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The files of the project that are opened in a test."""
    found: set[str] = set()
    original = io.open

    def note(file: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(file, str | os.PathLike) and Path(file).resolve().is_relative_to(project):
            found.add(Path(file).resolve().relative_to(project).as_posix())
        return original(file, *arguments, **named)

    monkeypatch.setattr("builtins.open", note)
    monkeypatch.setattr(io, "open", note)
    return found


def collect(source: dict[str, Any]) -> dict[str, Any]:
    """Read a source of the working directory; returns the parameters `data`."""
    data = {**FORM, "root": "raw", "source": source, "target": NONE}
    config = build(DataConfig, data, "data")
    config.source.collect(Request(ImageFormat(16, 3, "stretch"), Path("raw"), 0, "ingest/source"))
    return data


def is_below(path: str | Path, place: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(place).resolve())


@pytest.mark.parametrize("name", SOURCES)
def test_every_file_that_is_read_is_watched(project: Path, opened: set[str], name: str) -> None:
    source, expected = SOURCES[name]
    data = collect(source)
    reads = watched(data, "source")
    assert {slot: place for slot, place in reads.items() if place != UNWATCHED} == expected
    assert opened or name == "digits"
    assert [path for path in opened if not any(is_below(path, place) for place in reads.values())] == []


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project where the stage `ingest` of dvc.yaml is up to date for each of the sources; it makes empty stores."""
    folder = tmp_path_factory.mktemp("ingested")
    with contextlib.chdir(folder):
        write_raw()
        sources = {_key(name): source for name, (source, _) in SOURCES.items()}
        reads = {key: watched({"root": "raw", key: source}, key) for key, source in sources.items()}
        data = {**FORM, "most": 64, "root": "raw", "reads": reads, **sources}
        Path("params.yaml").write_text(yaml.safe_dump({"seed": 0, "data": data}))
        stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["ingest"]
        stage["do"]["cmd"] = "mkdir -p data/stores/${key}"
        Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"ingest": stage}}))
        Path("code").mkdir()
        Path(UNWATCHED).write_text("{}")
        with Repo.init(".", no_scm=True) as repo:
            repo.reproduce()
    return folder


def _key(name: str) -> str:
    return name.replace(" ", "-")


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "digits"])
def test_dvc_sees_an_image_that_is_changed_removed_or_added_and_nothing_else(
    project: Path, opened: set[str], ingested: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Every file that the source opens is changed; one is removed; one is added to a watched folder."""
    source, places = SOURCES[name]
    collect(source)
    files = [Path(path) for path in sorted(opened)]
    monkeypatch.chdir(ingested)

    def is_outdated() -> bool:
        with Repo(".") as repo:
            return bool(repo.status([f"ingest@{_key(name)}"]))

    seen = {}
    for file in files:
        before = file.read_bytes()
        file.write_bytes(before + b"0")
        seen[f"{file} changed"] = is_outdated()
        file.write_bytes(before)
    file.unlink()
    seen[f"{file} removed"] = is_outdated()
    file.write_bytes(before)
    if any(is_below(file.parent, place) for place in places.values()):
        another = file.with_name(f"another{file.suffix}")
        another.write_bytes(before)
        seen[f"{another} added"] = is_outdated()
        another.unlink()
    Path("raw/other.png").write_bytes(b"")
    assert seen
    assert [change for change, was_seen in seen.items() if not was_seen] == []
    assert not is_outdated()


def test_domains_that_are_not_set_are_named() -> None:
    source = {"kind": "domains", "domains": "???"}
    with pytest.raises(ParameterError, match=r"must be set .*data\.source\.domains=\[NAME,NAME\]"):
        watched({"root": "raw", "source": source}, "source")
    with pytest.raises(ParameterError, match=r"data\.root: must be set"):
        watched({"root": "???", "source": source}, "source")


def test_a_size_that_follows_from_the_source_is_that_of_its_store() -> None:
    data = {"root": "raw", "source": FOLDER, "target": FOLDER}
    assert watched({**data, "size": None}, "target")["size"] == SIZE == "data/stores/source/store.json"
    assert watched({**data, "size": None}, "source")["size"] == UNWATCHED
    for given in (data, {**data, "size": 32}):
        assert watched(given, "target")["size"] == UNWATCHED
    with pytest.raises(ParameterError, match=r"data\.reads\.target: does not cover data/stores/source/store\.json"):
        check_watched({**data, "size": None, "reads": {"target": watched(data, "target")}}, "target")


def test_home_is_expanded_for_reading_and_for_watching(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project / "raw"))
    data = {"root": ".", "source": {"kind": "folder", "path": "~/images"}}
    assert watched(data, "source")["images"] == f"{project}/raw/images"
    assert with_home(data)["source"]["path"] == f"{project}/raw/images"


def test_a_table_beside_the_project_watches_the_folder_of_its_rows(project: Path) -> None:
    Path("t.csv").write_text("path\nraw/images/cat/1.png\nraw/t2/1.png\n")
    table = {"kind": "table", "path": "t.csv"}
    found = watched({"source": table}, "source")
    assert found == {"images": "raw", "table": "t.csv", "photos": UNWATCHED, "labels": UNWATCHED, "size": UNWATCHED}
    Path("t.csv").write_text("path\nraw/1.png\nother/1.png\n")
    with pytest.raises(ParameterError, match=r"t\.csv: lists images in several folders"):
        watched({"source": table}, "source")
    assert watched({"source": {"kind": "table", "path": "u.csv"}}, "source")["images"] == UNWATCHED


@pytest.mark.parametrize("path", ["", "  ", ".", "..", "data", "data/stores/", "/"])
def test_a_path_that_is_empty_or_holds_what_stages_write_is_refused(project: Path, path: str) -> None:
    with pytest.raises(ParameterError, match=r"data\.source\.path: is empty|contains what the stages write"):
        watched({"source": {"kind": "folder", "path": path}}, "source")


def test_a_path_that_is_not_set_is_named() -> None:
    with pytest.raises(ParameterError, match=r"data\.target\.photos\.path: must be set"):
        watched(
            {"target": {"kind": "blended", "foreground": NONE, "photos": {"kind": "folder", "path": "???"}}}, "target"
        )


def test_only_torchvision_that_downloads_is_not_watched() -> None:
    source = {"kind": "torchvision", "name": "CIFAR10"}
    assert watched({"source": source, "root": "raw"}, "source")["images"] == "raw/torchvision"
    assert watched({"source": {**source, "download": True}}, "source")["images"] == UNWATCHED


def test_reading_what_is_not_watched_is_refused() -> None:
    reads = {"source": {"images": "raw/images", "table": UNWATCHED, "photos": UNWATCHED}}
    data = {"root": "raw", "source": FOLDER, "reads": reads}
    check_watched(data, "source")
    check_watched({**data, "source": {"kind": "folder", "path": "images/cat"}}, "source")
    check_watched({key: value for key, value in data.items() if key != "reads"}, "source")
    with pytest.raises(ParameterError, match=r"data\.reads\.source: does not cover raw/other.*repflow compose"):
        check_watched({**data, "source": {"kind": "folder", "path": "other"}}, "source")


@pytest.mark.parametrize(
    ("name", "place", "is_covered"),
    [
        ("folder", "raw/images/labels.csv", True),
        ("folder with a slash", "raw/images/labels.csv", True),
        ("archive", "raw/labels.csv", False),
        ("table", "raw/labels.csv", False),
        ("table and its folder", "raw/t2/labels.csv", True),
        ("idx", "raw/idx/labels.csv", True),
        ("huggingface", "raw/hub/labels.csv", True),
        ("parquet", "raw/parquet/labels.csv", True),
        ("one Parquet file", "raw/parquet/labels.csv", False),
        ("pattern of Parquet files", "raw/parquet/labels.csv", True),
        ("webdataset", "raw/shards/labels.csv", True),
        ("webdataset and its classes", "raw/shards/labels.csv", True),
        ("cifar", "raw/cifar/labels.csv", True),
        ("one domain", "raw/domains/photo/labels.csv", True),
        ("several domains", "raw/domains/labels.csv", True),
    ],
)
def test_labels_that_are_added_are_watched(project: Path, name: str, place: str, is_covered: bool) -> None:
    data: dict[str, Any] = {**FORM, "root": "raw", "source": SOURCES[name][0], "target": NONE}
    before = watched(data, "source")
    assert labels_file(data["source"], "raw") == place
    assert before["labels"] == UNWATCHED  # DVC refuses to depend on a file that is not there
    Path(place).write_text("path,label\n")
    assert watched(data, "source") == {**before, "labels": UNWATCHED if is_covered else place}
    if is_covered:
        check_watched({**data, "reads": {"source": before}}, "source")
    else:
        with pytest.raises(ParameterError, match=rf"does not cover {place}.*repflow compose"):
            check_watched({**data, "reads": {"source": before}}, "source")


def test_a_table_of_this_name_is_no_table_of_added_labels(project: Path) -> None:
    Path("raw/labels.csv").write_text("path,label\ncat/1.png,cat\n")
    assert labels_file({"kind": "table", "path": "labels.csv", "images": "images"}, "raw") is None
    assert labels_file({"kind": "digits"}, "raw") is None
    assert labels_file({"kind": "torchvision", "name": "CIFAR10", "download": True}, "raw") == "raw/labels.csv"
    Path("raw/torchvision").mkdir()
    found = labels_file({"kind": "torchvision", "name": "CIFAR10", "download": True}, "raw")
    assert found == "raw/torchvision/labels.csv"
