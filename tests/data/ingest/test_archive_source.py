"""Archives: read like folders, within limits, and refused if their paths lead out of them."""

import gzip
import io
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from repflow.data.ingest.sources.archive import Archive
from repflow.data.ingest.sources.contract import Collected
from repflow.data.ingest.sources.folder import Folder
from repflow.errors import DataError

Collect = Callable[..., Collected]
Write = Callable[..., Path]
TREE = (
    "set/train/cat/1.png",
    "set/train/cat/deep/er/2.JPG",
    "set/val/dog/3.bmp",
    "set/unlabelled/5.ppm",
    "set/train/unlabeled/6.gif",
)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_archives_are_read_as_folders_are(collect: Collect, write_images: Write, kind: str, wrapped: bool) -> None:
    root = write_images(*TREE)
    (root / "set/train/cat/7.png").write_bytes(b"damaged")
    name = shutil.make_archive(str(root / "a"), kind, root if wrapped else root / "set", "set" if wrapped else ".")
    packed, unpacked = collect(Archive("archive", Path(name).name)), collect(Folder("folder", "set"))
    assert np.array_equal(packed.images, unpacked.images)
    listed = packed.listing.assign(path=packed.listing["path"].str.removeprefix("set/"))
    pd.testing.assert_frame_equal(listed, unpacked.listing)


def test_a_single_class_is_not_taken_for_a_wrapper(collect: Collect, write_images: Write) -> None:
    root = write_images("set/cat/1.png")
    name = shutil.make_archive(str(root / "a"), "zip", root / "set", "cat")
    assert collect(Archive("archive", Path(name).name)).listing["given_class"].tolist() == ["cat"]


def test_an_empty_class_in_an_archive_is_refused(collect: Collect, write_images: Write) -> None:
    root = write_images("set/cat/1.png")
    (root / "set/dog").mkdir()
    for kind in ("zip", "tar"):
        name = shutil.make_archive(str(root / "a"), kind, root / "set")
        with pytest.raises(DataError, match="'dog' has no image"):
            collect(Archive("archive", Path(name).name))


@pytest.mark.parametrize("name", ["../out.png", "cat/../../out.png", "/etc/out.png", "..\\out.png", "C:\\out.png"])
def test_a_path_out_of_a_zip_is_refused(collect: Collect, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(DataError, match="leads out of the archive"):
        collect(Archive("archive", "a.zip"))


def tar_with(place: Path, *members: tarfile.TarInfo) -> None:
    with tarfile.open(place, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (member("../out.png"), "leads out of the archive"),
        (member("/out.png"), "leads out of the archive"),
        (member("cat/1.png", tarfile.SYMTYPE, "../../out.png"), "leads out of the archive"),
        (member("cat/1.png", tarfile.SYMTYPE, "/etc/passwd"), "leads out of the archive"),
        (member("cat/1.png", tarfile.LNKTYPE, "../out.png"), "leads out of the archive"),
        (member("cat/1.png", tarfile.CHRTYPE), "neither a file nor a folder"),
        (member("cat/1.png", tarfile.FIFOTYPE), "neither a file nor a folder"),
    ],
)
def test_unsafe_members_of_a_tar_are_refused(
    collect: Collect, tmp_path: Path, bad: tarfile.TarInfo, message: str
) -> None:
    tar_with(tmp_path / "a.tgz", bad)
    with pytest.raises(DataError, match=message):
        collect(Archive("archive", "a.tgz"))


def test_links_inside_an_archive_are_listed_but_not_followed(
    collect: Collect, tmp_path: Path, encoded: Callable[..., bytes]
) -> None:
    content = encoded((1, 2, 3))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(member("cat/1.png", size=len(content)), io.BytesIO(content))
        archive.addfile(member("cat/2.png", tarfile.SYMTYPE, "1.png"))
        archive.addfile(member("cat/3.png", tarfile.LNKTYPE, "cat/1.png"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("cat/1.png", content)
        link = zipfile.ZipInfo("cat/2.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "1.png")
    for name in ("a.tar", "a.zip"):
        listing = collect(Archive("archive", name)).listing
        assert listing["index"].tolist()[:2] == [0, -1]
        assert set(listing["reason"][1:]) == {"a link inside an archive, which is not followed"}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["cat/1.png", "cat/skipped.txt"])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(collect: Collect, tmp_path: Path, kind: str, name: str) -> None:
    size = 2**27  # 128 MiB of zeros in 128 KiB
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / f"a.{kind}", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(name, bytes(size))
    else:
        tar_with(tmp_path / f"a.{kind}", member(name, size=size))
    with pytest.raises(DataError, match=r"expands to more than .* as a zip bomb does"):
        collect(Archive("archive", f"a.{kind}"))


def test_a_tar_with_false_sizes_is_refused(collect: Collect, tmp_path: Path) -> None:
    long_name = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=2**32)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(long_name.tobuf() + bytes(2**27), 1))
    with pytest.raises(DataError, match="expands to more than"):
        collect(Archive("archive", "a.tgz"))


def test_limits_on_entries_and_bytes_are_enforced(collect: Collect, write_images: Write) -> None:
    root = write_images("set/cat/1.png", "set/cat/2.png")
    for kind, ending in (("zip", "zip"), ("tar", "tar")):
        shutil.make_archive(str(root / "a"), kind, root / "set")
        with pytest.raises(DataError, match="has more than 2 entries; raise `max_files`"):
            collect(Archive("archive", f"a.{ending}", max_files=2))
        with pytest.raises(DataError, match=r"expands to more than 60 bytes"):
            collect(Archive("archive", f"a.{ending}", max_bytes=60))


@pytest.mark.parametrize("content", [b"", b"PK\3\4 broken", b"\x1f\x8b broken", b"\xfd7zXZ\0 broken", b"text" * 400])
def test_a_file_that_is_not_an_archive_is_refused(collect: Collect, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="not a readable zip or tar archive"):
        collect(Archive("archive", "a.zip"))


@pytest.mark.parametrize("kind", ["zip", "gztar", "xztar", "tar"])
def test_a_truncated_archive_is_refused(collect: Collect, write_images: Write, kind: str) -> None:
    root = write_images(*(f"set/cat/{number}.bmp" for number in range(30)))
    place = Path(shutil.make_archive(str(root / "a"), kind, root / "set"))
    place.write_bytes(place.read_bytes()[: place.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match="not a readable zip or tar archive"):
        collect(Archive("archive", place.name))


def test_a_damaged_or_encrypted_entry_of_a_zip_is_listed(
    collect: Collect, tmp_path: Path, encoded: Callable[..., bytes]
) -> None:
    content = encoded((200, 1, 1), ".bmp")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("cat/1.bmp", "cat/2.bmp", "cat/3.bmp"):
            archive.writestr(name, content)
    packed = bytearray((tmp_path / "a.zip").read_bytes())
    packed[packed.index(b"cat/2.bmp") + 200] ^= 255  # now its checksum is wrong
    directory = packed.rindex(b"PK\1\2")
    packed[directory + 8] |= 1  # now the third one says that it is encrypted
    (tmp_path / "a.zip").write_bytes(packed)
    listing = collect(Archive("archive", "a.zip")).listing
    assert listing["index"].tolist() == [0, -1, -1]
    assert "damaged inside the archive" in listing["reason"][1]
    assert "encrypted" in listing["reason"][2]


def test_a_missing_archive_is_refused(collect: Collect, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such archive"):
        collect(Archive("archive", "a.zip"))
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="for a folder write `kind: folder`"):
        collect(Archive("archive", "a"))


def listed(collected: Collected) -> list[tuple[str, str]]:
    return list(collected.listing[["path", "given_class"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("raw", ["é".encode(), "é".encode("cp437")], ids=["utf-8", "cp437"])
def test_names_in_a_zip_are_read_although_no_encoding_is_declared(
    collect: Collect, tmp_path: Path, encoded: Callable[..., bytes], raw: bytes
) -> None:
    placeholder = b"#" * len(raw)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"{placeholder.decode()}/1.png", encoded((1, 2, 3)))
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(placeholder + b"/", raw + b"/"))
    assert listed(collect(Archive("archive", "a.zip"))) == [("é/1.png", "é")]


def test_names_in_archives_have_one_text(collect: Collect, tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    content = encoded((1, 2, 3))
    decomposed = unicodedata.normalize("NFD", "é")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(f"{decomposed}/1.png", content)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in (f"{decomposed}/1.png", os.fsdecode(b"\xff/2.png")):
            archive.addfile(member(name, size=len(content)), io.BytesIO(content))
    assert listed(collect(Archive("archive", "a.zip"))) == [("é/1.png", "é")]
    assert listed(collect(Archive("archive", "a.tar"))) == [("\\xff/2.png", "\\xff"), ("é/1.png", "é")]


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_archives_too_are_judged_by_content_and_without_what_systems_leave(
    collect: Collect, write_images: Write, kind: str
) -> None:
    root = write_images("set/x/cat/1.png", "set/x/cat/2.png", "set/__MACOSX/cat/1.png", "set/x/cat/@eaDir/1.png")
    (root / "set/x/cat/2.png").rename(root / "set/x/cat/2")
    write_images("set/x/dog/3.jpg", root=root)
    (root / "set/x/README").write_text("none")
    name = shutil.make_archive(str(root / "a"), kind, root / "set")
    collected = collect(Archive("archive", Path(name).name))
    assert listed(collected) == [("x/cat/1.png", "cat"), ("x/cat/2", "cat"), ("x/dog/3.jpg", "dog")]
    assert collected.listing["index"].tolist() == [0, 1, 2]
