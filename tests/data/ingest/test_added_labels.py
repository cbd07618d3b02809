"""Labels added by a table beside the data: every kind of source reads them; what cannot be meant is named."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from repflow.data.ingest.added_labels import add_labels
from repflow.data.ingest.ingestion import DataConfig, ingest
from repflow.data.ingest.sources.contract import listing
from repflow.data.store import Store, open_store
from repflow.errors import DataError
from repflow.schema import build

IMAGES = ("cat/1.png", "dog/2.png", "unlabelled/3.png", "unlabelled/4.png")
Write = Callable[..., Path]
Ingested = Callable[..., Store]


@pytest.fixture
def ingested(tmp_path: Path) -> Ingested:
    """Ingest a source of the test's folder, as a store."""

    def run(domain: str = "source", **sources: Any) -> Store:
        values = {"size": 16, "channels": 3, "resize": "stretch", "target": {"kind": "none"}, **sources}
        ingest(build(DataConfig, values, "data"), domain, 0, tmp_path, tmp_path / "store")
        return open_store(tmp_path / "store")

    return run


def classes(store: Store) -> dict[str, str | None]:
    known = store.manifest["given_class"].astype(object)
    return dict(zip(store.manifest["path"], known.where(known.notna(), None), strict=True))


def of(*paths: str, given: dict[str, str] | None = None) -> Any:
    return listing(paths, given_class=[(given or {}).get(path) for path in paths])


def test_an_image_of_a_folder_gets_its_label(write_images: Write, ingested: Ingested, tmp_path: Path) -> None:
    write_images(*(f"set/{path}" for path in IMAGES))
    (tmp_path / "set/labels.csv").write_text("path,label\nunlabelled/3.png,dog\n")
    store = ingested(source={"kind": "folder", "path": "set"})
    assert classes(store) == dict(zip(IMAGES, ("cat", "dog", "dog", None), strict=True))
    assert store.classes == ("cat", "dog")
    labels = dict(zip(store.manifest["path"], store.manifest["label"], strict=True))
    assert labels["unlabelled/3.png"] == 1
    assert labels["unlabelled/4.png"] == -1


def test_an_image_of_an_archive_gets_its_label(write_images: Write, ingested: Ingested, tmp_path: Path) -> None:
    root = write_images(*(f"set/{path}" for path in IMAGES))
    with tarfile.open(root / "set.tar", "w") as archive:
        archive.add(root / "set", ".")
    (tmp_path / "labels.csv").write_text("path,label\nunlabelled/4.png,bird\n")
    store = ingested(source={"kind": "archive", "path": "set.tar"})
    assert classes(store)["unlabelled/4.png"] == "bird"
    assert store.classes == ("bird", "cat", "dog")


def test_an_image_of_a_table_gets_its_label(write_images: Write, ingested: Ingested, tmp_path: Path) -> None:
    write_images("a.png", "b.png", root=tmp_path / "pictures")
    (tmp_path / "t.csv").write_text("path,label\n./a.png,cat\nb.png,\n")
    (tmp_path / "labels.csv").write_text("path,label\nb.png,dog\na.png,cat\n")
    store = ingested(source={"kind": "table", "path": "t.csv", "images": "pictures"})
    assert classes(store) == {"./a.png": "cat", "b.png": "dog"}


def test_an_image_of_idx_files_gets_its_label(ingested: Ingested, tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 8, 8), np.uint8).tobytes()
    header = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 8, 0, 0, 0, 8])
    (tmp_path / "mnist/images.gz").write_bytes(gzip.compress(header + pixels))
    (tmp_path / "mnist/labels.csv").write_text("path,label\nimages/0001,7\n")
    store = ingested(source={"kind": "idx", "images": "mnist/images"})
    assert classes(store) == {"images/0000": None, "images/0001": "7", "images/0002": None}


def test_images_of_sets_and_domains_get_their_labels(write_images: Write, ingested: Ingested, tmp_path: Path) -> None:
    png = write_images("photo/cat/1.png", "photo/unlabelled/2.png").joinpath("photo/cat/1.png").read_bytes()
    for folder in ("hub", "parquet", "shards", "cifar"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hub/metadata.jsonl").write_text('{"file_name": "1.png", "label": "cat"}\n{"file_name": "2.png"}\n')
    for name in ("1.png", "2.png"):
        (tmp_path / "hub" / name).write_bytes(png)
    parquet.write_table(pa.table({"image": [png, png], "label": ["cat", None]}), tmp_path / "parquet/a.parquet")
    with tarfile.open(tmp_path / "shards/a.tar", "w") as archive:
        for name, content in (("1.png", png), ("1.cls", b"cat"), ("2.png", png)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (tmp_path / f"cifar/{name}.bin").write_bytes(bytes(3073))
    for kind, folder, path, before in (
        ("huggingface", "hub", "2.png", None),
        ("parquet", "parquet", "a.parquet/0001", None),
        ("webdataset", "shards", "a.tar/2.png", None),
        ("cifar", "cifar", "test_batch.bin/0000", "0"),
        ("domains", "photo", "photo/unlabelled/2.png", None),
    ):
        source = {"kind": kind} | ({"domains": ["photo"]} if kind == "domains" else {"path": folder})
        assert classes(ingested(source=source))[path] == before, kind
        (tmp_path / folder / "labels.csv").write_text(f"path,label\n{path},{before or 'dog'}\n")
        assert classes(ingested(source=source))[path] == (before or "dog"), kind


def test_a_table_beside_both_domains_is_the_sources(write_images: Write, ingested: Ingested, tmp_path: Path) -> None:
    root = write_images(*(f"set/{path}" for path in IMAGES))
    for name in ("one.tar", "two.tar"):
        with tarfile.open(root / name, "w") as archive:
            archive.add(root / "set" / IMAGES[2], f"{name}/{IMAGES[2]}")
            archive.add(root / "set" / IMAGES[0], f"{name}/{IMAGES[0]}")
    (tmp_path / "labels.csv").write_text(f"path,label\none.tar/{IMAGES[2]},dog\n")
    domains = {
        name: {"kind": "archive", "path": f"{path}.tar"} for name, path in (("source", "one"), ("target", "two"))
    }
    assert classes(ingested("source", **domains))[f"one.tar/{IMAGES[2]}"] == "dog"
    assert classes(ingested("target", **domains))[f"two.tar/{IMAGES[2]}"] is None


def test_a_target_has_labels_of_its_own(write_images: Write, ingested: Ingested, tmp_path: Path) -> None:
    write_images("one/a.png", "two/b.png")
    (tmp_path / "two/labels.csv").write_text("path,label\nb.png,dog\n")
    domains = {"source": {"kind": "folder", "path": "one"}, "target": {"kind": "folder", "path": "two"}}
    assert classes(ingested("target", **domains)) == {"b.png": "dog"}
    assert classes(ingested("source", **domains)) == {"a.png": None}


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffpath;label\nunlabelled/3.png;dog\n",
        " Label , PATH \n dog , unlabelled/3.png \n",
        "path\tguess\tlabel\nunlabelled/3.png\tcat\tdog\nunlabelled/4.png\tcat\t\n",
        "path,label\n.\\unlabelled\\3.png,dog\n",
    ],
)
def test_spreadsheets_and_people_are_understood(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.csv").write_text(content, encoding="utf-8")
    found = add_labels(of(*IMAGES), tmp_path / "labels.csv")
    assert found["given_class"].tolist() == [None, None, "dog", None]


@pytest.mark.parametrize("content", ["path,label\ncafe\u0301/1.png,dog\n", "path,label\ncaf\u00e9/1.png,dog\n"])
def test_a_name_is_one_text_in_either_unicode_form(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.csv").write_text(content, encoding="utf-8")
    assert add_labels(of("caf\u00e9/1.png"), tmp_path / "labels.csv")["given_class"].tolist() == ["dog"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "path,label\nunlabelled/3.png,dog\ncat/1.png,dog\n",
            r"line 3: cat/1\.png is labelled 'dog', but the data .* 'cat'",
        ),
        (
            "path,label\n\nunlabeled/3.png,dog\n",
            r"line 3: there is no image unlabeled/3\.png .*mean unlabelled/3\.png\?",
        ),
        ("path,label\nunlabelled/5.png,dog\n", r"line 2: there is no image .*did you mean unlabelled/\d\.png\?"),
        ("path,label\ncat/1.png,cat\ncat/1.png,dog\n", r"line 3: cat/1\.png is listed in line 2 already"),
        (
            "path,class\ncat/1.png,cat\n",
            r"there is no column 'label', but 'class'; rename it .*labels\.csv beside the data",
        ),
        ("file,label\ncat/1.png,cat\n", r"required column 'path' is missing.*labels\.csv beside the data holds added"),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(content)
    given = {"cat/1.png": "cat", "dog/2.png": "dog"}
    with pytest.raises(DataError, match=message):
        add_labels(of(*IMAGES, given=given), tmp_path / "labels.csv")


def test_rows_without_a_label_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "labels.csv").write_text("path,label\nnowhere.png,\ncat/1.png, \n")
    assert add_labels(of(*IMAGES), tmp_path / "labels.csv")["given_class"].tolist() == [None] * 4
    assert "no row has a label" in caplog.text


def test_a_new_class_that_may_be_a_misspelt_one_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "labels.csv").write_text("path,label\nunlabelled/3.png,Cat\nunlabelled/4.png,zebra\n")
    caplog.set_level("INFO", logger="repflow")
    add_labels(of(*IMAGES, given={"cat/1.png": "cat", "dog/2.png": "dog"}), tmp_path / "labels.csv")
    assert "the class 'Cat' is new; is 'cat' meant?" in caplog.text
    assert "the class 'zebra' is new\n" in caplog.text
    assert "labels.csv: 2 labels added, 0 given already" in caplog.text


def test_the_table_is_not_named_as_a_file_that_is_no_image(
    write_images: Write, ingested: Ingested, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images("set/a.png")
    (tmp_path / "set/labels.csv").write_text("path,label\na.png,dog\n")
    (tmp_path / "set/notes.txt").write_text("nothing")
    ingested(source={"kind": "folder", "path": "set"})
    assert "skipped 1 files without an image extension, such as notes.txt" in caplog.text
