"""The files of a set: folders and patterns, splits in their names, and files that are missing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from repflow.data.ingest.sources.contract import nowhere
from repflow.data.ingest.sources.shards import expanded, find_shards
from repflow.errors import DataError


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., list[tuple[str, str | None]]]:
    """Write the given names to `set`, and find shards by a path."""

    def run(*names: str, path: str = "set") -> list[tuple[str, str | None]]:
        for name in names:
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_bytes(b"content")
        found = find_shards(tmp_path, path, (".tar",), "tar file", nowhere)
        assert all(shard.place.read_bytes() == b"content" for shard in found)
        return [(shard.name, shard.split) for shard in found]

    return run


Find = Callable[..., list[tuple[str, str | None]]]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{a,b}-{1..2}", ["a-1", "a-2", "b-1", "b-2"]),
        ("{008..011}", ["008", "009", "010", "011"]),
        ("{0..10}", [str(number) for number in range(11)]),
    ],
)
def test_braces_stand_for_every_choice(pattern: str, names: list[str]) -> None:
    assert list(expanded(pattern)) == names


@pytest.mark.parametrize("pattern", ["{5..1}", "{0..99999999}"])
def test_a_range_of_none_or_too_many_is_refused(pattern: str) -> None:
    with pytest.raises(DataError, match="range of none or of more than"):
        list(expanded(pattern))


def test_splits_are_words_of_the_file_or_else_of_the_nearest_folder(find: Find) -> None:
    assert find("Train-000.tar", "cifar_val-000.tar", "test/000.tar", "test/validation-0.tar") == [
        ("Train-000.tar", "train"),
        ("cifar_val-000.tar", "validation"),
        ("test/000.tar", "test"),
        ("test/validation-0.tar", "validation"),
    ]


def test_numbers_count_by_value_and_hidden_files_are_passed_over(find: Find, caplog: pytest.LogCaptureFixture) -> None:
    assert [name for name, _ in find("10.tar", "9.tar", ".cache/8.tar", "__MACOSX/7.tar", "notes.md")] == [
        "9.tar",
        "10.tar",
    ]
    assert "set: skipped 1 files that are no tar file, such as notes.md" in caplog.text


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(find: Find, tmp_path: Path) -> None:
    find("a.tar")
    (tmp_path / "set").rename(tmp_path / "set [1] {2}")
    assert find(path="set [1] {2}") == [("a.tar", None)]
    (tmp_path / "set").mkdir()
    assert find(path="set [1] {2}/a.tar") == [("a.tar", None)]


def test_a_file_that_is_missing_is_named(find: Find, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match=r"no such tar file; .*complete the download"):
        find("train-0.tar", path="set/train-{0..1}.tar")
    with pytest.raises(DataError, match="no file has such a name"):
        find(path="set/x*.tar")
    with pytest.raises(DataError, match="no such tar file"):
        find(path="nowhere")
    find("train-3.tar")
    assert "2 numbers have no file, the first of them 1" in caplog.text
    with pytest.raises(DataError, match=r"train-00001-of-00003.tar is missing \(2 of 3 such files\)"):
        find("train-00000-of-00003.tar")


def test_hashes_in_the_names_of_shards_do_not_matter(find: Find) -> None:
    assert len(find("train-00000-of-00002-1f.tar", "train-00001-of-00002-ab3.tar")) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train_test.tar",), "train_test.tar: its name says test and train"),
        (("train.tar", "extra.tar"), "the name 'extra.tar' says no split, while others do"),
        (("notes.md",), "contains no tar file"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(find: Find, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find(*names)


def test_unlabelled_files_need_no_split(find: Find) -> None:
    assert find("train.tar", "unlabeled.tar") == [("train.tar", "train"), ("unlabeled.tar", None)]


def test_pointers_empty_files_and_links_out_are_refused(find: Find, tmp_path: Path) -> None:
    find("a.tar")
    (tmp_path / "set/b.tar").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(DataError, match=r"b\.tar: is a pointer of Git LFS .*git lfs pull"):
        find()
    (tmp_path / "set/b.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.tar: is empty"):
        find()
    (tmp_path / "set/b.tar").unlink()
    (tmp_path / "secret.tar").write_bytes(b"content")
    (tmp_path / "set/b.tar").symlink_to(tmp_path / "secret.tar")
    with pytest.raises(DataError, match="leads out of"):
        find()
