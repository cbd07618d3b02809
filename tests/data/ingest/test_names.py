"""Names: one text for one name, what names a split, and which names no person gave."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repflow.data.ingest.sources.names import SPLITS, as_text, is_like_split, is_passed_over, split_named


@given(st.binary(max_size=12))
def test_any_bytes_have_a_text_that_can_be_written_and_stays_as_it_is(name: bytes) -> None:
    text = as_text(os.fsdecode(name))
    text.encode("utf-8")
    assert as_text(text) == text


@given(st.text(max_size=12).filter(lambda text: text.isprintable()))
def test_both_unicode_forms_of_a_name_have_one_text(name: str) -> None:
    assert as_text(unicodedata.normalize("NFD", name)) == as_text(unicodedata.normalize("NFC", name))


def test_bytes_that_are_not_utf8_are_escaped() -> None:
    assert as_text(os.fsdecode(b"caf\xe9/1.png")) == "caf\\xe9/1.png"


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_is_known_in_any_case_and_with_spaces(name: str) -> None:
    assert split_named(f" {name.title()} ") == SPLITS[name] == split_named(name.upper())


@pytest.mark.parametrize("name", ["eval", "holdout", "trained", "", "0"])
def test_other_names_are_no_splits(name: str) -> None:
    assert split_named(name) is None


@pytest.mark.parametrize("name", ["train", "Testing", "train_images", "Test set", "val2017", "eval", "01-dev"])
def test_a_name_may_look_like_a_split(name: str) -> None:
    assert is_like_split(name)


@pytest.mark.parametrize("name", ["cat", "bullet train", "test tube", "images", "7", "trainer"])
def test_other_names_do_not_look_like_splits(name: str) -> None:
    assert not is_like_split(name)


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir",
        "#recycle",
        ".thumbnails",
        "Thumbs.db",
        "__MACOSX",
        ".DS_Store",
        "._x.jpg",
        "lost+found",
        "$RECYCLE.BIN",
    ],
)
def test_what_systems_leave_behind_is_passed_over(name: str) -> None:
    assert is_passed_over(name)


@pytest.mark.parametrize("name", ["cat", "#1", "@home", "thumbs", "recycle", "1.jpg"])
def test_what_a_person_may_have_named_is_not(name: str) -> None:
    assert not is_passed_over(name)
