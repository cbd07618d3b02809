"""Hugging Face image folders: metadata files of every kind, splits, labels, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from repflow.data.ingest.sources.contract import Collected
from repflow.data.ingest.sources.huggingface import HuggingFace
from repflow.errors import DataError

Collect = Callable[..., Collected]
Write = Callable[..., Path]
ROWS = [("1.png", "cat"), ("deep/2.jpg", "dog"), ("3.png", "")]


def hub(path: str = "set", label: str = "label") -> HuggingFace:
    return HuggingFace("huggingface", path, label)


def rows(collected: Collected) -> list[tuple[str, str | None, str | None, int]]:
    listed = collected.listing[["path", "given_class", "split", "index"]].astype(object)
    return list(listed.where(listed.notna(), None).itertuples(index=False, name=None))


def write_metadata(folder: Path, kind: str, header: tuple[str, str] = ("file_name", "label")) -> None:
    values = [{header[0]: name, header[1]: label or None} for name, label in ROWS]
    if kind == "csv":
        pd.DataFrame(values).to_csv(folder / "metadata.csv", index=False)
    elif kind == "jsonl":
        (folder / "metadata.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values) + "\n")
    else:
        pd.DataFrame(values).to_parquet(folder / "metadata.parquet")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("header", [("file_name", "label"), (" File_Name", "LABEL ")])
def test_metadata_of_every_kind_list_the_images_of_their_split(
    collect: Collect, write_images: Write, kind: str, header: tuple[str, str]
) -> None:
    root = write_images(*(f"set/{split}/{name}" for split in ("train", "validation", "test") for name, _ in ROWS))
    for split in ("train", "validation", "test"):
        write_metadata(root / "set" / split, kind, header)
    collected = collect(hub())
    assert rows(collected) == [
        (f"{split}/{name}", label or None, split, 3 * number + row)
        for number, split in enumerate(("test", "train", "validation"))
        for row, (name, label) in enumerate(ROWS)
    ]
    assert collected.images[:, 0, 0, 0].tolist() == [120, 140, 160, 0, 20, 40, 60, 80, 100]


def test_one_file_at_the_root_may_list_images_in_folders_of_splits_and_name_splits_and_groups(
    collect: Collect, write_images: Write
) -> None:
    root = write_images("set/train/1.png", "set/images/2.png", "set/3.png")
    text = "file_name;species;split;group\ntrain\\1.png;7.0;;a\nimages/2.png;8;test;\n3.png;;;a\n"
    (root / "set/metadata.csv").write_text("\ufeff" + text, encoding="utf-8")
    collected = collect(hub(label="species"))
    expected = [("train/1.png", "7", "train", 0), ("images/2.png", "8", "test", 1), ("3.png", None, None, 2)]
    assert rows(collected) == expected
    assert collected.listing["group"].tolist()[::2] == ["a", "a"]


def test_class_names_in_the_schema_are_the_classes(collect: Collect, write_images: Write) -> None:
    root = write_images("set/1.png", "set/2.png", "set/3.png")
    names = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    schema = pa.schema(
        {"file_name": pa.string(), "label": pa.int64()},
        metadata={"huggingface": json.dumps({"info": {"features": names}})},
    )
    table = pa.table({"file_name": ["1.png", "2.png", "3.png"], "label": [1, 0, None]}, schema=schema)
    parquet.write_table(table, root / "set/metadata.parquet")
    assert [given for _, given, _, _ in rows(collect(hub()))] == ["dog", "cat", None]


def test_a_folder_without_metadata_is_read_by_the_names_of_its_folders(collect: Collect, write_images: Write) -> None:
    write_images("set/train/cat/1.png", "set/test/dog/2.png")
    assert rows(collect(hub())) == [("test/dog/2.png", "dog", "test", 0), ("train/cat/1.png", "cat", "train", 1)]


def test_unreadable_and_missing_images_are_listed_and_others_named(
    collect: Collect, write_images: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_images("set/1.png", "set/left out.png", "set/.hidden/4.png")
    (root / "set/2.png").write_bytes(b"damaged")
    (root / "set/README.md").write_text("about")
    (root / "set/metadata.csv").write_text("file_name,label,text\n1.png,a,x\n2.png,b,x\nno.png,c,x\n")
    collected = collect(hub())
    assert collected.listing["index"].tolist() == [0, -1, -1]
    assert collected.listing["reason"].tolist()[1:] == ["not an image in a supported format", "no such file"]
    assert "1 images are in no metadata file and not used, such as left out.png" in caplog.text
    assert "metadata.csv: the columns 'text' are not used" in caplog.text
    assert "such as README.md" in caplog.text
    assert "metadata.csv," not in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metadata.csv", "file_name,label\n../secret.png,a\n", r"line 2: ../secret.png: leads out of"),
        ("metadata.csv", "file_name,label\n/etc/passwd,a\n", r"line 2: /etc/passwd: leads out of"),
        ("metadata.csv", "path,label\n1.png,a\n", "'file_name' is missing .*rename 'path' to 'file_name'"),
        ("metadata.csv", "file_name,class\n1.png,a\n", "no column 'label', but 'class'.*data.source.label=class"),
        ("metadata.csv", "file_name,split\n1.png,eval\n", "line 2: 'eval' is not a split"),
        ("metadata.csv", "file_name,label\n1.png,a\n./1.png,b\n", "line 3: 1.png is listed in line 2 already"),
        ("metadata.jsonl", '{"file_name": "1.png"}\n\n{"file_name": \n', "line 3: is no JSON"),
        ("metadata.jsonl", '["1.png"]\n', "line 1: is .*no object; write one object a line"),
        ("metadata.jsonl", '{"file_name": "1.png", "label": ["a", "b"]}\n', r"line 1: 'label' is \['a', 'b'\]; each"),
        ("metadata.jsonl", '{"file_name": "1.png", "label": "a"}\n{"label": "b"}\n', "line 2: 'file_name' is empty"),
        ("metadata.jsonl", "\n", "has no rows"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(
    collect: Collect, write_images: Write, name: str, text: str, message: str
) -> None:
    root = write_images("secret.png", "set/1.png")
    (root / "set" / name).write_text(text)
    with pytest.raises(DataError, match=message):
        collect(hub())


def test_a_label_that_is_asked_for_must_be_there(collect: Collect, write_images: Write) -> None:
    root = write_images("set/1.png")
    (root / "set/metadata.csv").write_text("file_name,text\n1.png,a\n")
    with pytest.raises(DataError, match=r"the column 'species' is missing \(columns: file_name, text\)"):
        collect(hub(label="species"))


def test_what_says_two_things_is_refused(collect: Collect, write_images: Write) -> None:
    root = write_images("set/train/1.png")
    (root / "set/metadata.csv").write_text("file_name,split\ntrain/1.png,test\n")
    with pytest.raises(DataError, match=r"line 2: the split is test, but train/1\.png is in a folder of train"):
        collect(hub())
    (root / "set/metadata.csv").write_text("file_name\ntrain/1.png\n")
    (root / "set/train/metadata.csv").write_text("file_name\n1.png\n")
    with pytest.raises(DataError, match=r"train/1\.png is listed in metadata\.csv, line 2 already"):
        collect(hub())
    (root / "set/metadata.jsonl").write_text('{"file_name": "train/1.png"}\n')
    with pytest.raises(DataError, match=r"has both metadata\.csv and metadata\.jsonl; keep one"):
        collect(hub())


def test_a_link_out_of_the_folder_is_refused(collect: Collect, write_images: Write) -> None:
    root = write_images("secret.png", "set/1.png")
    (root / "set/2.png").symlink_to("../secret.png")
    (root / "set/metadata.csv").write_text("file_name\n1.png\n")
    with pytest.raises(DataError, match=r"the link .*2\.png: leads out of"):
        collect(hub())
