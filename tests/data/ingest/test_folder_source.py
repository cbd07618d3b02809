"""Image folders: classes, splits, and what is refused."""

import os
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repflow.data.ingest.sources.contract import Collected, in_order
from repflow.data.ingest.sources.folder import Folder
from repflow.data.ingest.sources.layout import parse_layout
from repflow.errors import DataError

Collect = Callable[..., Collected]
Write = Callable[..., Path]
TREE = (
    "set/train/cat/1.png",
    "set/train/cat/deep/er/2.JPG",
    "set/train/dog/1.webp",
    "set/val/dog/3.bmp",
    "set/test/cat/9.tiff",
    "set/unlabelled/5.ppm",
    "set/train/unlabeled/6.gif",
)


def folder(path: str = "set") -> Folder:
    return Folder("folder", path)


def rows(collected: Collected) -> list[tuple[str, str | None, str | None]]:
    listed = collected.listing[["path", "given_class", "split"]].astype(object).where(lambda cell: cell.notna(), None)
    return list(listed.itertuples(index=False, name=None))


def test_classes_and_splits_are_read_from_the_folders(collect: Collect, write_images: Write) -> None:
    write_images(*TREE)
    collected = collect(folder())
    assert rows(collected) == [
        ("test/cat/9.tiff", "cat", "test"),
        ("train/cat/1.png", "cat", "train"),
        ("train/cat/deep/er/2.JPG", "cat", "train"),
        ("train/dog/1.webp", "dog", "train"),
        ("train/unlabeled/6.gif", None, "train"),
        ("unlabelled/5.ppm", None, None),
        ("val/dog/3.bmp", "dog", "validation"),
    ]
    assert collected.listing["index"].tolist() == list(range(7))
    assert collected.images.shape == (7, 3, 16, 16)
    assert collected.images[1, 0].max() == 0  # the first image that was written, red 0
    assert set(collected.listing["width"]) == {20}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("cat/1.png", "dog/1.png"), [("cat", None), ("dog", None)]),
        (("cat/1.png", "unlabelled/2.png"), [("cat", None), (None, None)]),
        (("unlabelled/a/2.png",), [(None, None)]),
        (("1.png", "2.png"), [(None, None)] * 2),
        (("train/1.png",), [(None, "train")]),
        (("Test/b/1.png", "TRAIN/a/1.png"), [("b", "test"), ("a", "train")]),
        (("cat/1.png", "train/1.png"), [("cat", None), ("train", None)]),
        (("validation/a/1.png",), [("a", "validation")]),
        (("e\u0301te\u0301/1.png",), [("\u00e9t\u00e9", None)]),
    ],
)
def test_layouts(paths: tuple[str, ...], expected: list[tuple[str | None, str | None]]) -> None:
    assert list(parse_layout(paths, (), "root").itertuples(index=False, name=None)) == expected


@given(st.lists(st.integers(0, 10**6).map(str), unique=True))
def test_classes_that_are_numbers_come_in_the_order_of_numbers(names: list[str]) -> None:
    assert in_order(names) == sorted(names, key=int)


@given(st.lists(st.text(max_size=6)))
def test_classes_have_one_order_whatever_their_names(names: list[str]) -> None:
    shuffled = random.Random(0).sample(names, len(names))
    assert in_order(names) == in_order(shuffled)
    assert set(in_order(names)) == set(names)


def test_unreadable_files_are_listed_with_their_reason(collect: Collect, write_images: Write) -> None:
    root = write_images("set/cat/1.png", "set/cat/3.png")
    (root / "set/cat/2.png").write_bytes((root / "set/cat/1.png").read_bytes()[:60])
    (root / "set/cat/0.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "set/cat/4.png").symlink_to("nowhere.png")
    os.mkfifo(root / "set/cat/5.png")
    (root / "set/cat/6.png").write_bytes(b"")
    collected = collect(folder())
    listing = collected.listing.set_index("path")
    assert listing["index"].tolist() == [-1, 0, -1, 1, -1, -1, -1]
    assert listing["reason"].isna().tolist() == [False, True, False, True, False, False, False]
    assert listing["reason"]["cat/4.png"] == "no such file"
    assert listing["reason"]["cat/5.png"] == "not a file"
    assert listing["given_class"].tolist() == ["cat"] * 7
    assert len(collected.images) == 2


def test_files_without_an_image_extension_are_skipped_with_a_warning(
    collect: Collect, write_images: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_images("set/cat/1.png", "set/.hidden/1.png", "set/cat/._1.png", "set/__MACOSX/cat/1.png")
    (root / "set/cat/notes.txt").write_text("hello")
    assert rows(collect(folder())) == [("cat/1.png", "cat", None)]
    assert "skipped 1 files without an image extension, such as cat/notes.txt" in caplog.text


def test_a_missing_folder_is_refused(collect: Collect) -> None:
    with pytest.raises(DataError, match="set: no such folder"):
        collect(folder())


def test_a_file_instead_of_a_folder_is_refused_with_a_hint(collect: Collect, write_images: Write) -> None:
    write_images("set.png")
    with pytest.raises(DataError, match="for a zip or tar file write `kind: archive`"):
        collect(folder("set.png"))


def test_a_folder_without_images_is_refused(collect: Collect, tmp_path: Path) -> None:
    (tmp_path / "set/cat").mkdir(parents=True)
    with pytest.raises(DataError, match="contains no image files"):
        collect(folder())


def test_a_folder_with_hidden_images_only_is_refused_and_the_log_says_why(
    collect: Collect, write_images: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_images("set/.cat/1.png")
    caplog.set_level("INFO", "repflow")
    with pytest.raises(DataError, match="contains no image files"):
        collect(folder())
    assert "passed over 1 hidden entries and entries of the system, such as .cat" in caplog.text


@pytest.mark.parametrize("empty", ["set/train/bird", "set/val/cat/deep"])
def test_an_empty_class_is_refused(collect: Collect, write_images: Write, empty: str) -> None:
    root = write_images(*TREE)
    (root / empty).mkdir(parents=True)
    with pytest.raises(DataError, match="/".join(empty.split("/")[1:3]) + "' has no image"):
        collect(folder())


def test_a_link_out_of_the_root_is_refused(collect: Collect, write_images: Write) -> None:
    root = write_images("set/cat/1.png", "secret.png", "other/dog/1.png")
    link = root / "set/cat/2.png"
    for target in (root / "secret.png", Path("../../secret.png"), Path("/etc/passwd")):
        link.symlink_to(target)
        with pytest.raises(DataError, match=r"the link .*cat/2\.png: leads out of"):
            collect(folder())
        link.unlink()
    (root / "set/dog").symlink_to(root / "other/dog")
    with pytest.raises(DataError, match=r"the link .*dog: leads out of"):
        collect(folder())


def test_links_inside_the_root_are_followed_to_files_only(collect: Collect, write_images: Write) -> None:
    root = write_images("set/cat/1.png")
    (root / "set/cat/2.png").symlink_to("1.png")
    assert np.array_equal(*collect(folder()).images)
    (root / "set/loop").symlink_to(".")
    with pytest.raises(DataError, match="leads to a folder, which is not followed"):
        collect(folder())
    (root / "set/loop").unlink()
    (root / "set/loop.png").symlink_to("loop.png")
    with pytest.raises(DataError, match=r"loop\.png: leads out of .* or nowhere"):
        collect(folder())


def test_the_folder_itself_may_be_a_link(collect: Collect, write_images: Write) -> None:
    root = write_images("elsewhere/cat/1.png")
    (root / "set").symlink_to("elsewhere")
    assert rows(collect(folder())) == [("cat/1.png", "cat", None)]


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", ".thumbnails", "lost+found", "$RECYCLE.BIN", "__MACOSX"])
def test_folders_of_storage_boxes_and_systems_are_passed_over_and_named(
    collect: Collect, write_images: Write, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    root = write_images("set/cat/1.png", f"set/cat/{name}/1.png", f"set/{name}/cat/1.png", "set/cat/._1.png")
    (root / "set/Thumbs.db").touch()
    caplog.set_level("INFO", "repflow")
    assert rows(collect(folder())) == [("cat/1.png", "cat", None)]
    assert name in caplog.text
    assert "without an image extension" not in caplog.text


def test_the_content_decides_the_format_and_about_files_without_ending(
    collect: Collect, write_images: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_images("set/cat/1.png", "set/cat/2.jpg", "set/cat/3.webp", "set/cat/4.bmp", "set/cat/5.avif")
    (root / "set/cat/1.png").rename(root / "set/cat/1.JPG")
    (root / "set/cat/2.jpg").rename(root / "set/cat/2")
    (root / "set/cat/3.webp").rename(root / "set/cat/scan 2021.05")
    (root / "set/cat/4.bmp").rename(root / "set/cat/4.dat")
    (root / "set/cat/LICENSE").write_text("none")
    os.mkfifo(root / "set/cat/pipe")
    collected = collect(folder())
    listed = collected.listing["path"].tolist()
    assert listed == ["cat/1.JPG", "cat/2", "cat/5.avif", "cat/scan 2021.05"]
    assert collected.listing["index"].tolist() == [0, 1, 2, 3]
    assert "skipped 3 files without an image extension, such as cat/4.dat, cat/LICENSE, cat/pipe" in caplog.text


def test_names_that_are_not_utf8_are_classes_too(collect: Collect, write_images: Write) -> None:
    root = write_images("set/cat/1.png", "set/dog/1.png")
    try:
        os.rename(root / "set/cat", bytes(root) + b"/set/caf\xe9")
    except OSError:
        pytest.skip("this file system takes text only")
    assert rows(collect(folder())) == [("caf\\xe9/1.png", "caf\\xe9", None), ("dog/1.png", "dog", None)]


def test_the_unicode_form_of_names_changes_nothing(collect: Collect, write_images: Write) -> None:
    names = ("é/1.png", "e/2.png", "f/É.png")
    for form in ("NFC", "NFD"):
        write_images(*(f"{form}/{unicodedata.normalize(form, name)}" for name in names))
    first, second = collect(folder("NFC")), collect(folder("NFD"))
    assert rows(first) == rows(second)
    assert np.array_equal(first.images, second.images)
