"""Reading the image files in a zip or tar file with an eye on what comes out. Nothing is unpacked to the disk."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast

from repflow.data.ingest.decode import MAX_BYTES, Undecodable
from repflow.data.ingest.sources.files import ENDINGS, File, is_hidden, is_image_name, too_many_bytes
from repflow.data.ingest.sources.folder import report_passed
from repflow.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


_ALWAYS_ALLOWED = 2**26
"""So many bytes may come out of any archive, however small it is."""


class Contents:
    """The image files in an archive, read from front to back with an eye on what comes out.

    Iterating gives each file, with its bytes already read. Afterwards `folders` holds the paths of the folders.

    Raises (while iterating):
        DataError: there is no such archive, it is damaged or encrypted, it holds a path that leads out of it or
            something that is neither file nor folder, or it grows beyond its bounds.
    """

    def __init__(self, place: Path, max_files: int, max_bytes: int, max_ratio: int):
        if not place.exists():
            raise DataError(f"{place}: no such archive; `data.root` and the `path` of the source must lead to one")
        if not place.is_file():
            raise DataError(f"{place}: is no file, where an archive is wanted; for a folder write `kind: folder`")
        self.place = place
        self.folders: set[str] = set()
        self._passed: list[str] = []
        self._images = self._entries = 0
        self._max_files, self._max_bytes, self._max_ratio = max_files, max_bytes, max_ratio

    def __iter__(self) -> Iterator[File]:
        with self._explained(), self.place.open("rb") as file:
            zipped = file.read(2) == b"PK"
        members = self._zip_members() if zipped else self._tar_members()
        with self._explained():
            for name, read, size in members:
                yield self._file(name, read, size)

    def finish(self) -> None:
        """Check and report what was found."""
        if not self._images:
            raise DataError(f"{self.place}: holds no image (read: {' '.join(ENDINGS)})")
        report_passed(self.place.name, self._passed)

    def _file(self, name: str, read: Callable[[], bytes], size: int) -> File:
        self._images += 1
        if size > MAX_BYTES:
            return File(name, _failing(too_many_bytes(size)), 0)
        try:
            content = read()
        except Undecodable as problem:
            return File(name, _failing(str(problem)), 0)
        return File(name, lambda: content, size)

    def _zip_members(self) -> Iterator[tuple[str, Callable[[], bytes], int]]:
        budget = self._budget()
        with self._explained(), zipfile.ZipFile(self.place) as archive:
            for entry in archive.infolist():
                name = self._checked(entry.filename.replace("\\", "/"))
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if entry.is_dir():
                    self._add_folder(name)
                    continue
                budget -= entry.file_size
                if budget < 0:
                    raise self._too_much()
                if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
                    raise DataError(f"{self.place}: {name} is neither file nor folder; such an archive is not read")
                if self._wanted(name):
                    linked = kind == stat.S_IFLNK
                    yield name, (_failing(_LINK) if linked else _zip_reader(archive, entry)), entry.file_size

    def _tar_members(self) -> Iterator[tuple[str, Callable[[], bytes], int]]:
        with self._explained(), _decompressed(self.place) as stream:
            counted = _Counted(stream, self._budget(), self._too_much)
            with tarfile.open(fileobj=io.BufferedReader(counted, 2**20), mode="r|") as archive:
                for entry in archive:
                    name = self._checked(entry.name)
                    if entry.isdir():
                        self._add_folder(name)
                    elif entry.issym() or entry.islnk():
                        self._checked_link(name, entry)
                        if self._wanted(name):
                            yield name, _failing(_LINK), 0
                    elif not entry.isreg():
                        raise DataError(f"{self.place}: {name} is neither file nor folder; such an archive is not read")
                    elif self._wanted(name):
                        yield name, _tar_reader(archive, entry), entry.size

    def _checked(self, name: str) -> str:
        """The path of an entry without "." and doubled "/", refused where it leads out of the archive."""
        self._entries += 1
        if self._entries > self._max_files:
            raise DataError(
                f"{self.place}: has more than {self._max_files:,} entries; raise `max_files` if you trust it"
            )
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise DataError(f"{self.place}: the path {name!r} leads out of the archive; such an archive is not read")
        return path.as_posix()

    def _checked_link(self, name: str, entry: tarfile.TarInfo) -> None:
        start = PurePosixPath(name).parent if entry.issym() else PurePosixPath()
        depth = 0
        for part in (start / entry.linkname).parts:
            depth += -1 if part == ".." else 1
            if depth < 0 or part == "/":
                message = f"the link {name!r} leads out of the archive, to {entry.linkname!r}"
                raise DataError(f"{self.place}: {message}; such an archive is not read")

    def _add_folder(self, name: str) -> None:
        if name != "." and not any(is_hidden(part) for part in name.split("/")):
            self.folders.add(name)

    def _wanted(self, name: str) -> bool:
        if any(is_hidden(part) for part in name.split("/")):
            return False
        if not is_image_name(name):
            self._passed.append(name)
            return False
        return True

    def _budget(self) -> int:
        return min(self._max_bytes, max(_ALWAYS_ALLOWED, self._max_ratio * self.place.stat().st_size))

    def _too_much(self) -> DataError:
        bounds = f"{self._max_bytes:,} bytes (`max_bytes`) or {self._max_ratio} times its size (`max_ratio`)"
        return DataError(
            f"{self.place}: expands to more than {bounds}, as a zip bomb does; raise these if you trust it"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (
            zipfile.BadZipFile,
            tarfile.TarError,
            lzma.LZMAError,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
        ) as error:
            raise DataError(f"{self.place}: not a whole zip or tar archive ({error})") from error


class _Counted(io.RawIOBase):
    """A stream that is cut off when more comes out of it than is allowed."""

    def __init__(self, stream: IO[bytes], budget: int, refusal: Callable[[], DataError]):
        super().__init__()
        self._stream, self._budget, self._refusal = stream, budget, refusal

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        content = self._stream.read(len(view))
        self._budget -= len(content)
        if self._budget < 0:
            raise self._refusal()
        view[: len(content)] = content
        return len(content)


_LINK = "a link inside an archive, which is not followed"


def _failing(reason: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise Undecodable(reason)

    return read


def _zip_reader(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return archive.read(entry)
        except RuntimeError as error:  # which is how zipfile says that a password is wanted
            raise Undecodable(f"encrypted, or packed in a way that cannot be read ({type(error).__name__})") from None
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            raise Undecodable(f"damaged inside the archive: {error}") from None

    return read


def _tar_reader(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        if entry.issparse():  # a few bytes that stand for any number of zeros
            raise Undecodable("a sparse file inside an archive, which is not read")
        stream = archive.extractfile(entry)
        return stream.read() if stream else b""

    return read


def _decompressed(place: Path) -> IO[bytes]:
    """The tar inside a file, whatever its compression."""
    with place.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(place))
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(place)
    if start.startswith(b"BZh"):
        return bz2.open(place)
    return place.open("rb")
