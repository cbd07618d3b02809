"""Tables of image files: paths, labels, splits and groups, and what is refused."""

import os
import unicodedata
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
    root = write_images("b.png", "a.png", "deep/c.png", "d.png")
    text = "path,label,split,group,other\nb.png,7,train,x,1\na.png,NA,val,,2\ndeep/c.png,,,y,3\nd.png, 8 ,Test,y,4\n"
    (root / "table.csv").write_text(text)
    collected = collect(table())
    assert column(collected, "path") == ["b.png", "a.png", "deep/c.png", "d.png"]
    assert column(collected, "given_class") == ["7", "NA", None, "8"]
    assert column(collected, "split") == ["train", "validation", None, "test"]
    assert column(collected, "group") == ["x", None, "y", "y"]
    assert column(collected, "index") == [0, 1, 2, 3]
    assert collected.images[:, 0, 0, 0].tolist() == [0, 20, 40, 60]


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
    with pytest.raises(DataError, match=f"line 3: {path}: leads out of"):
        collect(table("set/table.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,label\nb.png,1\n", r"the required column 'path' is missing \(columns: picture, label\)$"),
        ("path,label\n", "has no rows"),
        ("", "not a readable CSV"),
        ("path,label\nb.png,1\n,2\n", "line 3: 'path' is empty"),
        ("path,split\nb.png,eval\n", r"line 2: 'eval' is not a split \(allowed: train, training, val,"),
        ("path,label\n\nb.png,1\nc.png,1,2\n", "line 4: 3 cells, but the header has 2"),
        ("path,label,split\nb.png,1,test\nc.png,test\n", "line 3: 2 cells, but the header has 3"),
        ('path,label\nb.png,"1\nc.png,2\n', "line 3: not readable as CSV"),
        ("path,label,Label\nb.png,1,2\n", "there are 2 columns 'label'"),
        ("path,label\nb.png,1\n./b.png,2\n", r"line 3: b\.png is listed in line 2 already"),
        ("path,class\nb.png,1\n", "no column 'label', but 'class'; rename it to 'label', or remove it"),
        ("path,lable\nb.png,1\n", "no column 'label', but 'lable'"),
        ("path,label,splits\nb.png,1,test\n", "no column 'split', but 'splits'"),
        ("# made today\npath,label\nb.png,1\n", r"'path' is missing \(columns: # made today\)"),
        ("path\nb,c.png\n", "line 2: 2 cells, but the header has 1"),
        ("filename,label\nb.png,1\n", "'path' is missing .*; rename 'filename' to 'path'"),
        ("path\0,label\nb.png,1\n", "is not text|not a readable CSV"),
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


@pytest.mark.parametrize("header", ["path,label, split", "Path,LABEL,Split", "\ufeffpath ,label,\tsplit "])
def test_headers_count_without_case_spaces_and_marks(collect: Collect, write_images: Write, header: str) -> None:
    root = write_images("b.png", "c.png")
    (root / "table.csv").write_text(f"{header}\nb.png,1,train\nc.png,2,test\n", encoding="utf-8")
    assert column(collect(table()), "split") == ["train", "test"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_any_spreadsheet_are_read(
    collect: Collect, write_images: Write, delimiter: str, encoding: str
) -> None:
    root = write_images("b.png", "c.png")
    lines = [("path", "label", "note"), ("b.png", "é", "a"), ("c.png", f'"x{delimiter}y"', ""), ("", "", "")]
    text = "\r\n".join(map(delimiter.join, lines))
    (root / "table.csv").write_bytes(text.encode(encoding))
    assert column(collect(table()), "given_class") == ["é", f"x{delimiter}y"]


def test_columns_that_are_not_used_are_named(
    collect: Collect, write_images: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_images("b.png")
    (root / "table.csv").write_text("path,width,line\nb.png,1,2\n")
    collect(table())
    assert "table.csv: the columns 'width', 'line' are not used" in caplog.text


def test_whole_numbers_are_one_class_however_they_are_written(collect: Collect, write_images: Write) -> None:
    names = [f"{number}.png" for number in range(5)]
    root = write_images(*names)
    labels = ["1.0", "1", "1.50", "01", "v1.0"]
    pd.DataFrame({"path": names, "label": labels, "group": labels}).to_csv(root / "table.csv", index=False)
    collected = collect(table())
    assert column(collected, "given_class") == column(collected, "group") == ["1", "1", "1.50", "01", "v1.0"]
    pd.DataFrame({"path": names, "label": [1.0, 2.5, None, 3.0, 1.0]}).to_parquet(root / "t.parquet")
    assert column(collect(table("t.parquet")), "given_class") == ["1", "2.5", None, "3", "1"]


def test_parquet_is_known_by_its_content_and_its_index_counts(collect: Collect, write_images: Write) -> None:
    root = write_images("b.png")
    pd.DataFrame({"Label": ["x"]}, index=pd.Index(["b.png"], name="path")).to_parquet(root / "table.csv")
    assert column(collect(table()), "given_class") == ["x"]
    pd.DataFrame({"path": ["b.png", "c.png"], "split": ["test", "x"]}).to_parquet(root / "t.parquet")
    with pytest.raises(DataError, match="row 2: 'x' is not a split"):
        collect(table("t.parquet"))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_file_is_found_whatever_unicode_form_its_name_has(collect: Collect, write_images: Write, form: str) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    root = write_images(unicodedata.normalize(form, "été") + "/" + unicodedata.normalize(other, "é.png"))
    (root / "table.csv").write_text(unicodedata.normalize(other, "path,label,group\nété/é.png,é,é\n"))
    collected = collect(table())
    assert column(collected, "index") == [0]
    assert column(collected, "path") == ["été/é.png"]
    assert column(collected, "given_class") == column(collected, "group") == ["é"]


def test_bytes_that_are_not_utf8_name_a_file_and_are_said(
    collect: Collect, write_images: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_images("b.png")
    try:
        os.rename(root / "b.png", bytes(root) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes text only")
    (root / "table.csv").write_bytes(b"path,label\ncaf\xe9.png,caf\xe9\n")
    collected = collect(table())
    assert column(collected, "index") == [0]
    assert column(collected, "path") == ["caf\\xe9.png"]
    assert column(collected, "given_class") == ["caf\\xe9"]
    assert "table.csv: line 2 is not UTF-8" in caplog.text


def test_paths_of_windows_are_found(collect: Collect, write_images: Write) -> None:
    root = write_images("cat/b.png")
    (root / "table.csv").write_text("path\ncat\\b.png\n")
    assert column(collect(table()), "index") == [0]
    (root / "table.csv").write_text("path\n..\\secret.png\n")
    with pytest.raises(DataError, match="leads out of"):
        collect(table())
