"""The line that says what was found, and the doubts about it."""

import pytest

from repflow.data.ingest.sources.contract import listing
from repflow.data.ingest.summary import doubts, found


def test_images_classes_splits_and_groups_are_counted_without_unreadable_files() -> None:
    rows = listing(
        path=list("abcde"),
        index=[0, 1, 2, 3, -1],
        given_class=["cat", "dog", "cat", None, "cat"],
        split=["train", "test", None, "train", "train"],
        group=["x", "x", "y", None, "z"],
    )
    assert found(rows) == (
        "4 images; 2 classes: cat 2, dog 1; 1 images without a class;"
        " given splits: train 2, test 1, none for 1 images; 2 groups"
    )


def test_what_there_is_not_is_said_too() -> None:
    assert found(listing(path=["a"], index=[0])) == "1 images; no class; no given splits; no groups"


def test_many_classes_are_not_all_named() -> None:
    names = [f"class {number}" for number in range(100)]
    line = found(listing(path=names, index=range(100), given_class=names))
    assert "100 classes: class 0 1, class 1 1," in line
    assert "class 99" not in line


@pytest.mark.parametrize("names", [("train", "test"), ("Train_images", "EVAL"), ("cat", "dev")])
def test_classes_that_look_like_splits_are_doubted(names: tuple[str, ...]) -> None:
    (doubt,) = doubts(names)
    assert repr(names[1]) in doubt
    assert ("not as 'cat'" in doubt) == ("cat" in names)


def test_classes_that_differ_in_case_only_are_doubted() -> None:
    assert doubts(("Cat", "cat", "dog")) == ["the classes 'Cat', 'cat' differ only in case or spaces"]


@pytest.mark.parametrize("name", ["nan", "None", "?", "N/A"])
def test_a_class_that_looks_like_a_missing_label_is_doubted(name: str) -> None:
    assert doubts(("cat", name)) == [f"{name!r} is taken for a class; leave the label empty where there is none"]


def test_plain_classes_are_not_doubted() -> None:
    assert doubts(("cat", "dog", "bullet train", "0", "1")) == []
