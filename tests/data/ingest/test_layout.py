"""Layouts beyond the plain one: wrappers, splits below the classes, and classes that may lie deeper."""

import pytest

from repflow.data.ingest.sources.layout import parse_layout

Found = list[tuple[str | None, str | None]]


def layout(*paths: str) -> Found:
    return list(parse_layout(paths, (), "root").itertuples(index=False, name=None))


@pytest.mark.parametrize(
    "names", [("Training", "Testing"), ("train", "dev"), ("TRAIN", "Test", "val"), ("training", "valid", "testing")]
)
def test_the_usual_names_of_splits_are_splits(names: tuple[str, ...]) -> None:
    found = layout(*(f"{name}/{kind}/1.png" for name in names for kind in ("cat", "dog")))
    assert {kind for kind, _ in found} == {"cat", "dog"}
    assert len({split for _, split in found}) == len(names)
    assert {split for _, split in found} <= {"train", "validation", "test"}


def test_two_spellings_of_a_split_are_one() -> None:
    assert layout("Train/cat/1.png", "train/dog/1.png") == [("cat", "train"), ("dog", "train")]


@pytest.mark.parametrize("wrapper", ["dataset", "dataset/images", "a/b/c"])
def test_folders_that_contain_everything_are_skipped(wrapper: str) -> None:
    assert layout(f"{wrapper}/cat/1.png", f"{wrapper}/dog/1.png") == [("cat", None), ("dog", None)]
    assert layout(f"{wrapper}/train/cat/1.png", f"{wrapper}/test/cat/2.png") == [("cat", "train"), ("cat", "test")]


def test_a_wrapper_may_hold_an_image_beside_the_classes() -> None:
    assert layout("set/cat/1.png", "set/dog/1.png", "set/preview.png") == [("cat", None), ("dog", None), (None, None)]


def test_a_class_with_one_folder_beside_its_images_is_no_wrapper() -> None:
    assert layout("cat/1.png", "cat/more/2.png") == [("cat", None), ("cat", None)]


def test_splits_may_stand_below_the_classes() -> None:
    found = layout("cat/train/1.png", "cat/Test/deep/2.png", "dog/train/3.png")
    assert found == [("cat", "train"), ("cat", "test"), ("dog", "train")]


def test_one_class_without_such_folders_makes_them_plain_folders() -> None:
    found = layout("cat/train/1.png", "cat/test/2.png", "dog/3.png")
    assert found == [("cat", None), ("cat", None), ("dog", None)]


def test_spaces_around_a_class_do_not_count() -> None:
    assert layout("train/cat /1.png", "test/ cat/1.png") == [("cat", "train"), ("cat", "test")]


def test_classes_that_may_lie_deeper_are_named(caplog: pytest.LogCaptureFixture) -> None:
    layout("animals/cat/1.png", "plants/oak/1.png")
    assert "no class folder holds an image directly; 'animals' is taken for a class" in caplog.text
    assert "the deeper folder 'animals/cat'" in caplog.text
    caplog.clear()
    layout("animals/cat/1.png", "plants/1.png", "unlabelled/deep/1.png")
    layout("train/cat/1.png", "unlabelled/very/deep/1.png")
    assert not caplog.text
