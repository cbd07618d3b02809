"""Tables of image files: paths, labels, splits and groups, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from repflow.data.ingest.sources.contract import Collected
from repflow.data.ingest.sources.table import Table
from repflow.errors import DataError

Collect = Callable[..., Collected]
Write = Callable[..., Path]


def table(path: str = "table.csv", images: str | None = None) -> Table:
    return Table("table", path, images)


def column(collected: Collected, name: str) -> list[object]:
    return collected.listing[name].astype(object).where(collected.listing[name].notna(), None).tolist()


def test_labels_splits_and_groups_are_read_in_the_order_of_the_table(collect: Collect, write_images: Write) -> None:
    root = write_images("b.png", "a.png", "deep/c.png")
    text = "path,label,split,group,other\nb.png,7,train,x,1\na.png,NA,val,,2\ndeep/c.png,,,y,3\nb.png, 8 ,Test,y,4\n"
    (root / "table.csv").write_text(text)
    collected = collect(table())
    assert column(collected, "path") == ["b.png", "a.png", "deep/c.png", "b.png"]
    assert column(collected, "given_class") == ["7", "NA", None, "8"]
    assert column(collected, "split") == ["train", "validation", None, "test"]
    assert column(collected, "group") == ["x", None, "y", "y"]
    assert column(collected, "index") == [0, 1, 2, 3]
    assert collected.images[:, 0, 0, 0].tolist() == [0, 20, 40, 0]


def test_a_parquet_table_is_read_as_a_csv_is(collect: Collect, write_images: Write) -> None:
    root = write_images("b.png", "a.png", "c.png")
    frame = pd.DataFrame({"path": ["b.png", "a.png", "c.png"], "label": [3, 4, None], "split": ["train", None, "test"]})
    frame.to_parquet(root / "table.parquet")
    frame.assign(label=["3", "4", ""]).to_csv(root / "table.csv", index=False)
    first, second = collect(table("table.parquet")), collect(table())
    assert column(first, "given_class") == ["3", "4", None]
    pd.testing.assert_frame_equal(first.listing, second.listing)


def test_only_paths_are_needed(collect: Collect, write_images: Write) -> None:
    root = write_images("b.png")
    (root / "table.csv").write_bytes(b"\xef\xbb\xbfpath\r\nb.png\r\n")  # as spreadsheets write it
    assert column(collect(table()), "given_class") == [None]


def test_images_may_lie_elsewhere(collect: Collect, write_images: Write) -> None:
    root = write_images("pictures/b.png")
    (root / "tables").mkdir()
    (root / "tables/table.csv").write_text("path\nb.png\n")
    assert column(collect(table("tables/table.csv", "pictures")), "index") == [0]
    with pytest.raises(DataError, match="no such folder"):
        collect(table("tables/table.csv", "nowhere"))


def test_a_path_to_nothing_and_a_damaged_file_are_listed(collect: Collect, write_images: Write) -> None:
    root = write_images("b.png")
    (root / "c.png").write_bytes(b"damaged")
    (root / "table.csv").write_text("path\nnowhere.png\nb.png\nc.png\n")
    collected = collect(table())
    assert column(collected, "index") == [-1, 0, -1]
    assert column(collected, "reason") == ["no such file", None, "not an image in a supported format"]


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "link.png"])
def test_a_path_out_of_the_root_is_refused(collect: Collect, write_images: Write, path: str) -> None:
    root = write_images("secret.png", "set/b.png")
    (root / "set/link.png").symlink_to("../secret.png")
    (root / "set/table.csv").write_text(f"path\nb.png\n{path}\n")
    with pytest.raises(DataError, match=f"row 2: {path}: leads out of"):
        collect(table("set/table.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nb.png,1\n", r"the required column 'path' is missing \(columns: file, label\)"),
        ("path,label\n", "has no rows"),
        ("", "not a readable CSV"),
        ("path,label\nb.png,1\n,2\n", "row 2: 'path' is empty"),
        ("path,split\nb.png,training\n", r"row 1: 'training' is not a split \(allowed: train, val,"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(collect: Collect, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        collect(table())


def test_a_missing_or_damaged_table_is_refused(collect: Collect, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table\.csv: no such table"):
        collect(table())
    (tmp_path / "table.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match="not a readable CSV or Parquet table"):
        collect(table("table.parquet"))
