"""One folder a domain: which are read, what their layouts may be, and what is refused."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from repflow.data.ingest.sources.contract import Collected
from repflow.data.ingest.sources.domains import Domains
from repflow.errors import DataError, ParameterError

Collect = Callable[..., Collected]
Write = Callable[..., Path]


def domains(*names: str, path: str = "set") -> Domains:
    return Domains("domains", names, path)


def rows(collected: Collected) -> list[tuple[str, str | None, str | None]]:
    listed = collected.listing[["path", "given_class", "split"]].astype(object)
    return list(listed.where(listed.notna(), None).itertuples(index=False, name=None))


@pytest.fixture
def pacs(write_images: Write) -> Path:
    return write_images(
        "set/photo/dog/1.png", "set/photo/cat/2.png", "set/art/dog/1.png", "set/sketch/cat/4.png", "set/.cache/x/5.png"
    )


def test_the_chosen_domains_are_read_and_the_others_named(
    collect: Collect, pacs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    collected = collect(domains("photo", "art"))
    assert rows(collected) == [
        ("art/dog/1.png", "dog", None),
        ("photo/cat/2.png", "cat", None),
        ("photo/dog/1.png", "dog", None),
    ]
    assert collected.images[:, 0, 0, 0].tolist() == [40, 20, 0]
    assert "set: other domains, not used: sketch" in caplog.text
    assert rows(collect(domains("sketch", path="./set/"))) == [("sketch/cat/4.png", "cat", None)]


def test_each_domain_has_a_layout_of_its_own(collect: Collect, write_images: Write) -> None:
    write_images(
        "set/amazon/images/bike/1.png",  # as in Office-31
        "set/amazon/images/mug/2.png",
        "set/webcam/train/bike/1.png",
        "set/webcam/test/mug/2.png",
        "set/webcam/unlabelled/3.png",
    )
    assert rows(collect(domains("amazon", "webcam"))) == [
        ("amazon/images/bike/1.png", "bike", None),
        ("amazon/images/mug/2.png", "mug", None),
        ("webcam/test/mug/2.png", "mug", "test"),
        ("webcam/train/bike/1.png", "bike", "train"),
        ("webcam/unlabelled/3.png", None, None),
    ]


def test_names_are_found_in_any_case_and_unicode_form(collect: Collect, write_images: Write) -> None:
    write_images(f"set/{unicodedata.normalize('NFD', 'Gemälde')}/dog/1.png", "set/a/dog/2.png", "set/A/dog/3.png")
    assert rows(collect(domains("gemälde"))) == [("Gemälde/dog/1.png", "dog", None)]
    assert rows(collect(domains("A")))[0][0] == "A/dog/3.png"


def test_domains_that_are_not_there_or_twice_are_refused(collect: Collect, pacs: Path) -> None:
    with pytest.raises(DataError, match=r"no folder of the domain 'cartoon' \(there are: art, photo, sketch\)"):
        collect(domains("photo", "cartoon"))
    with pytest.raises(DataError, match=r"no folder of the domain '\.\.'"):
        collect(domains(".."))
    with pytest.raises(ParameterError, match="'photo' is named twice"):
        collect(domains("photo", "Photo"))
    with pytest.raises(DataError, match="no such folder"):
        collect(domains("photo", path="nowhere"))


def test_a_domain_that_leads_out_is_refused(collect: Collect, pacs: Path, write_images: Write) -> None:
    write_images("elsewhere/dog/1.png")
    (pacs / "set/cartoon").symlink_to(pacs / "elsewhere")
    with pytest.raises(DataError, match="leads out of"):
        collect(domains("cartoon"))
