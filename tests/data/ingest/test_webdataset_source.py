"""WebDataset shards: samples, labels and names of classes, read as a stream, and what is refused."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repflow.data.ingest.sources.contract import Collected
from repflow.data.ingest.sources.webdataset import WebDataset
from repflow.errors import DataError

Collect = Callable[..., Collected]
Encoded = Callable[..., bytes]


def shard(place: Path, *members: tuple[str, bytes | str], mode: str = "w") -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def wds(path: str = "set", **settings: object) -> WebDataset:
    return WebDataset(kind="webdataset", path=path, **settings)  # type: ignore[arg-type]


def cells(collected: Collected, name: str) -> list[object]:
    return collected.listing[name].astype(object).where(collected.listing[name].notna(), None).tolist()


@pytest.fixture
def image(encoded: Encoded) -> Callable[..., bytes]:
    return lambda red, ending=".png": encoded((red, 0, 0), ending)


@pytest.fixture
def hub(tmp_path: Path, image: Callable[..., bytes]) -> Path:
    """Three shards with numbers as labels, and the names of the classes beside them."""
    for number in range(2):
        members = [
            (f"{row:04}.{ending}", image(100 * number + row) if ending == "png" else str(row % 2) + "\n")
            for row in range(70)
            for ending in ("cls", "png")
        ]
        shard(tmp_path / f"set/train-{number:06}.tar", *members)
    shard(tmp_path / "set/test-000000.tar", ("a/b.c/x.JPG", image(200, ".jpg")), ("a/b.c/x.cls", "-1"))
    (tmp_path / "set/classes.txt").write_text("\ufeffcat\ndog\n\n", encoding="utf-8")
    return tmp_path / "set"


@pytest.mark.parametrize("path", ["set", "set/{test,train}-{000000..000001}.tar", "set/*.tar"])
def test_samples_of_all_shards_are_read_in_order_with_splits_and_names(collect: Collect, hub: Path, path: str) -> None:
    if "{" in path:
        (hub / "test-000001.tar").write_bytes((hub / "test-000000.tar").read_bytes())
    extra = 1 if "{" in path else 0
    collected = collect(wds(path))
    assert cells(collected, "split") == ["test"] * (1 + extra) + ["train"] * 140
    assert cells(collected, "given_class")[1 + extra :] == ["cat", "dog"] * 70
    assert cells(collected, "given_class")[0] is None
    assert collected.images[extra + 1 :, 0, 0, 0].tolist() == [*range(70), *range(100, 170)]
    assert cells(collected, "path")[0] == "test-000000.tar/a/b.c/x.jpg"
    assert cells(collected, "path")[-1] == "train-000001.tar/0069.png"


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_compressed_shard_is_read(collect: Collect, tmp_path: Path, image: Callable[..., bytes], mode: str) -> None:
    shard(tmp_path / f"a.tar.{mode[2:]}", ("1.png", image(7)), ("1.cls", "x"), mode=mode)
    collected = collect(wds(f"a.tar.{mode[2:]}"))
    assert cells(collected, "given_class") == ["x"]
    assert np.unique(collected.images[:, 0]).tolist() == [7]


def test_labels_are_text_numbers_or_a_key_in_json(
    collect: Collect, tmp_path: Path, image: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    members = [
        ("1.jpg", image(1)),
        ("1.cls", "bird\r\n"),
        ("2.jpg", image(2)),
        ("2.json", json.dumps({"label": 7, "width": 4})),
        ("2.txt", "a caption"),
        ("3.jpg", image(3)),
        ("3.json", json.dumps({"label": None})),
        ("4.jpg", image(4)),
    ]
    shard(tmp_path / "a.tar", *members)
    assert cells(collect(wds("a.tar")), "given_class") == ["bird", "7", None, None]
    assert "a.tar: skipped 1 files that are neither images nor labels, such as 2.txt" in caplog.text
    assert cells(collect(wds("a.tar", labels="json", key="width")), "given_class") == [None, "4", None, None]
    assert cells(collect(wds("a.tar", labels="txt")), "given_class") == [None, "a caption", None, None]
    collect(wds("a.tar", labels="json", key="species"))
    assert "no sample has a class: no .cls, and no .json with the key 'species' (keys: label, width)" in caplog.text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "cat\ndog"),
        ("classes.json", '["cat", "dog"]'),
        ("classes.json", '{"0": "cat", "1": "dog"}'),
        ("classes.json", '{"cat": 0, "dog": 1}'),
    ],
)
def test_names_of_classes_may_be_given(
    collect: Collect, tmp_path: Path, image: Callable[..., bytes], name: str, text: str
) -> None:
    shard(tmp_path / "a.tar", ("1.png", image(1)), ("1.cls", "1"))
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / name).write_text(text)
    assert cells(collect(wds("a.tar", classes=f"names/{name}")), "given_class") == ["dog"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "cat\n", r"a\.tar: sample '1': \.cls: the label 1 has no name, as there are 1 names"),
        ("a.txt", "cat\ncat\n", "the classes 0 and 1 have one name, 'cat'"),
        ("a.txt", "cat\n\ndog\n", "the name of the class 1 is empty"),
        ("a.txt", "", "has no names of classes"),
        ("a.json", "{", "not a readable list of classes"),
        ("a.json", '"cat"', "not a readable list of classes"),
        ("a.json", '{"cat": "x"}', "not a readable list of classes"),
        ("b.txt", "", "not a readable list of classes"),
    ],
)
def test_names_of_classes_that_do_not_fit_are_refused(
    collect: Collect, tmp_path: Path, image: Callable[..., bytes], name: str, text: str, message: str
) -> None:
    shard(tmp_path / "a.tar", ("1.png", image(1)), ("1.cls", "1"))
    if name != "b.txt":
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        collect(wds("a.tar", classes=name))


def test_damaged_images_and_samples_without_one_are_listed(
    collect: Collect, tmp_path: Path, image: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    members = [
        ("1.png", b"damaged"),
        ("1.cls", "0"),
        ("2.npy", b"x"),
        ("2.cls", "1"),
        ("3.png", image(3)),
        ("3.cls", "1"),
    ]
    shard(tmp_path / "a.tar", *members, ("README.txt", "about"), ("._3.png", b"x"), ("__meta__", b"x"))
    collected = collect(wds("a.tar"))
    assert cells(collected, "path") == ["a.tar/1.png", "a.tar/2", "a.tar/3.png"]
    assert cells(collected, "reason") == ["not an image in a supported format", "the sample has no image", None]
    assert cells(collected, "given_class") == ["0", "1", "1"]
    assert "such as 2.npy, README.txt, __meta__" in caplog.text


def test_one_image_of_a_sample_may_be_chosen(collect: Collect, tmp_path: Path, image: Callable[..., bytes]) -> None:
    shard(tmp_path / "a.tar", ("1.left.png", image(1)), ("1.right.png", image(2)), ("1.cls", "0"))
    assert collect(wds("a.tar", image="right.png")).images[0, 0, 0, 0] == 2
    with pytest.raises(DataError, match=r"sample '1' has 2 images \(left.png, right.png\); choose one, as in `image:"):
        collect(wds("a.tar"))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.png", b"x"), ("2.png", b"x"), ("1.cls", b"0")], "the files of the sample '1' do not follow each other"),
        ([("1.png", b"x"), ("1.PNG", b"x")], "the sample '1' has two files 'png'"),
        ([("1.png", b"x"), ("1.cls", b"0\n1\n")], r"sample '1': \.cls: the label \['0', '1'\] is no class"),
        ([("1.png", b"x"), ("1.json", b"{")], r"sample '1': \.json: is no JSON"),
        ([("1.png", b"x"), ("1.json", b'{"label": [1]}')], r"\.json: the label \[1\] is no class"),
        ([("../1.png", b"x")], "leads out of the archive"),
        ([("/1.png", b"x")], "leads out of the archive"),
        ([("about.md", b"x")], "has no images and no classes"),
    ],
)
def test_shards_that_do_not_fit_are_refused(
    collect: Collect, tmp_path: Path, members: list[tuple[str, bytes]], message: str
) -> None:
    shard(tmp_path / "a.tar", *members)
    with pytest.raises(DataError, match=message):
        collect(wds("a.tar"))


def test_links_in_a_shard_are_not_followed(collect: Collect, tmp_path: Path, image: Callable[..., bytes]) -> None:
    def linked(target: str) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            for name in ("1.png", "2.png"):
                entry = tarfile.TarInfo(name)
                if name == "1.png":
                    entry.type, entry.linkname = tarfile.SYMTYPE, target
                    archive.addfile(entry)
                else:
                    entry.size = len(image(1))
                    archive.addfile(entry, io.BytesIO(image(1)))

    linked("2.png")
    assert cells(collect(wds("a.tar")), "reason") == ["a link inside an archive, which is not followed", None]
    linked("../secret.png")
    with pytest.raises(DataError, match="leads out of the archive"):
        collect(wds("a.tar"))


def test_a_damaged_shard_is_refused(collect: Collect, hub: Path) -> None:
    place = hub / "train-000001.tar"
    place.write_bytes(place.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"train-000001\.tar: not a readable zip or tar archive"):
        collect(wds())


def test_two_lists_of_names_beside_the_shards_are_refused(collect: Collect, hub: Path) -> None:
    (hub / "classes.json").write_text('["cat", "dog"]')
    with pytest.raises(DataError, match=r"has classes\.txt and classes\.json; keep one"):
        collect(wds())
