"""A set that is given to the wrong kind of source is refused with the name of the right one."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from repflow.data.ingest.sources.archive import Archive
from repflow.data.ingest.sources.contract import Collected
from repflow.data.ingest.sources.folder import Folder
from repflow.data.ingest.sources.huggingface import HuggingFace
from repflow.data.ingest.sources.table import Table
from repflow.errors import DataError

Collect = Callable[..., Collected]
Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("data/train-00000-of-00001.parquet", "data=parquet"),
        ("train-000000.tar", "data=webdataset"),
        ("train.tar.gz", "data=webdataset"),
        ("data_batch_1.bin", "data=cifar_binary"),
        ("test.bin", "data=cifar_binary"),
        ("batches.meta", "CIFAR's Python version"),
        ("train-images-idx3-ubyte.gz", "kind: idx"),
    ],
)
@pytest.mark.parametrize("source", [Folder("folder", "set"), HuggingFace("huggingface", "set")])
def test_a_folder_of_another_form_is_named(
    collect: Collect, tmp_path: Path, name: str, choice: str, source: Folder | HuggingFace
) -> None:
    (tmp_path / "set" / name).parent.mkdir(parents=True)
    (tmp_path / "set" / name).write_bytes(b"content")
    with pytest.raises(DataError, match=f"contains no image files .*, but .*{choice}"):
        collect(source)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "\ufeffFile_Name;Label\ntrain/1.png;a\n"),
        ("train/metadata.csv", "file_name,category,text\n1.png,a,b\n"),
        ("train/metadata.jsonl", '{"file_name": "1.png", "label": "a"}\n'),
    ],
)
def test_an_image_folder_with_metadata_of_classes_is_no_plain_folder(
    collect: Collect, write_images: Write, name: str, text: str
) -> None:
    root = write_images("set/train/1.png", "set/train/2.png")
    (root / "set" / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"looks like a Hugging Face image folder, as {name} .*data=huggingface"):
        collect(Folder("folder", "set"))


@pytest.mark.parametrize("text", ["file_name,text\n1.png,a\n", "name,label\n1.png,a\n", "", "\0\xff"])
def test_other_metadata_leave_a_folder_as_it_is(collect: Collect, write_images: Write, text: str) -> None:
    root = write_images("set/cat/1.png")
    (root / "set/metadata.csv").write_text(text, encoding="latin-1")
    assert collect(Folder("folder", "set")).listing["given_class"].tolist() == ["cat"]


def test_an_archive_with_labels_of_samples_is_a_shard(collect: Collect, write_images: Write) -> None:
    root = write_images("1.png")
    for name in ("1.cls", "other.cls"):
        with tarfile.open(root / "a.tar", "w") as archive:
            archive.add(root / "1.png", "1.png")
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        if name == "1.cls":
            with pytest.raises(DataError, match=r"looks like a shard of WebDataset.*data=webdataset"):
                collect(Archive("archive", "a.tar"))
        else:
            assert len(collect(Archive("archive", "a.tar")).images) == 1


def test_an_archive_with_metadata_says_that_they_are_not_used(
    collect: Collect, write_images: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_images("1.png")
    (root / "metadata.csv").write_text("file_name,label\n1.png,a\n")
    with tarfile.open(root / "a.tar", "w") as archive:
        archive.add(root / "1.png", "1.png")
        archive.add(root / "metadata.csv", "metadata.csv")
    collect(Archive("archive", "a.tar"))
    assert "metadata.csv is not used; data=huggingface reads it" in caplog.text


def test_a_table_that_is_another_form_is_named(collect: Collect, write_images: Write) -> None:
    root = write_images("1.png")
    (root / "metadata.csv").write_text("file_name,label\n1.png,a\n")
    with pytest.raises(DataError, match="rename 'file_name' to 'path', or choose data=huggingface"):
        collect(Table("table", "metadata.csv"))
    parquet.write_table(pa.table({"image": [b"content"], "label": [1]}), root / "a.parquet")
    with pytest.raises(DataError, match="holds the images themselves, not their paths; choose data=parquet"):
        collect(Table("table", "a.parquet"))


def test_a_file_of_samples_that_is_given_as_a_folder_is_named(collect: Collect, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"content")
    with pytest.raises(DataError, match=r"is a file, not a folder; .*`kind: parquet`"):
        collect(Folder("folder", "a.parquet"))
