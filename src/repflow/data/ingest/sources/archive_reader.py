"""Read the image files in a zip or tar archive without unpacking it to disk, with limits against zip bombs."""

import bz2
import functools
import gzip
import io
import lzma
import stat
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast

from repflow.data.ingest.decode import MAX_BYTES, Undecodable
from repflow.data.ingest.sources.files import File, failing, stamp_of, too_many_bytes
from repflow.data.ingest.sources.formats import EXTENSIONS
from repflow.data.ingest.sources.names import as_text, is_passed_over
from repflow.data.ingest.sources.selection import Selection
from repflow.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


_ALWAYS_ALLOWED = 2**26
"""So many bytes may be decompressed from any archive, however small it is."""


class ArchiveReader:
    """The image files in an archive, or others that a selection takes, read sequentially and checked against limits.

    Iterating yields each file with its bytes already read. Afterwards `folders` holds the paths of the
    folders, and `count` is the number of the files.

    Raises (while iterating):
        DataError: there is no such archive, it is damaged or encrypted, it contains a path that leads out of it or
            something that is neither file nor folder, or it exceeds its limits.
    """

    def __init__(self, place: Path, max_files: int, max_bytes: int, max_ratio: int, selection: Selection | None = None):
        if not place.exists():
            raise DataError(f"{place}: no such archive; check `data.root` and the `path` of the source")
        if not place.is_file():
            raise DataError(f"{place}: is a folder, not an archive; for a folder write `kind: folder`")
        self.place = place
        self.folders: set[str] = set()
        self._selection = selection or Selection()
        self.count = self._entries = 0
        self._max_files, self._max_bytes, self._max_ratio = max_files, max_bytes, max_ratio

    def __iter__(self) -> Iterator[File]:
        members = self._zip_members() if self._is_zip() else self._tar_members()
        with self._explained():
            for name, read, size in members:
                yield self._file(name, read, size)

    def zipped_files(self) -> list[File] | None:
        """The files of a zip, sorted by path and not read yet; any process can read them. None for a tar.

        Raises:
            DataError: as while iterating.
        """
        if not self._is_zip():
            return None
        with self._explained():
            files = [self._file(name, read, size, later=True) for name, read, size in self._zip_members()]
        return sorted(files, key=lambda file: as_text(file.path))

    def _is_zip(self) -> bool:
        with self._explained(), self.place.open("rb") as file:
            return file.read(2) == b"PK"

    def finish(self) -> None:
        """Check that there were images, and log which files were skipped."""
        self._selection.report(self.place.name)
        if not self.count:
            raise DataError(f"{self.place}: contains no image files (extensions: {' '.join(EXTENSIONS)})")

    @property
    def others(self) -> tuple[str, ...]:
        """The files that the selection turned away."""
        return self._selection.others

    def _file(self, name: str, read: Callable[[], bytes], size: int, later: bool = False) -> File:
        self.count += 1
        if size > MAX_BYTES:
            return File(name, failing(too_many_bytes(size)), 0)
        if later:
            return File(name, read, size)
        try:
            content = read()
        except Undecodable as problem:
            return File(name, failing(str(problem)), 0)
        return File(name, lambda: content, size)

    def _zip_members(self) -> Iterator[tuple[str, Callable[[], bytes], int]]:
        budget = self._budget()
        place, stamp = self.place.resolve(), stamp_of(self.place.stat())
        with self._explained(), zipfile.ZipFile(self.place) as archive:
            for number, entry in enumerate(archive.infolist()):
                name = self._checked(_zip_name(entry).replace("\\", "/"))
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if entry.is_dir():
                    self._add_folder(name)
                    continue
                budget -= entry.file_size
                if budget < 0:
                    raise self._too_much()
                if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
                    raise self._not_a_file(name)
                read = failing(_LINK) if kind == stat.S_IFLNK else functools.partial(_read_zipped, place, stamp, number)
                if self._wanted(name, read, entry.file_size):
                    yield name, read, entry.file_size

    def _tar_members(self) -> Iterator[tuple[str, Callable[[], bytes], int]]:
        with self._explained(), _decompressed(self.place) as stream:
            counted = _Counted(stream, self._budget(), self._too_much)
            buffered = io.BufferedReader(counted, 2**20)
            with tarfile.open(fileobj=buffered, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
                for entry in archive:
                    name = self._checked(entry.name)
                    if entry.isdir():
                        self._add_folder(name)
                    elif entry.issym() or entry.islnk():
                        self._checked_link(name, entry)
                        if self._wanted(name, failing(_LINK), 0):
                            yield name, failing(_LINK), 0
                    elif not entry.isreg():
                        raise self._not_a_file(name)
                    elif self._wanted(name, read := _tar_reader(archive, entry), entry.size):
                        yield name, read, entry.size

    def _checked(self, name: str) -> str:
        """The normalised path of an entry; an error if it leads out of the archive."""
        self._entries += 1
        if self._entries > self._max_files:
            raise DataError(
                f"{self.place}: has more than {self._max_files:,} entries; raise `max_files` if you trust it"
            )
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise DataError(f"{self.place}: the path {name!r} leads out of the archive; remove it from the archive")
        return path.as_posix()

    def _checked_link(self, name: str, entry: tarfile.TarInfo) -> None:
        start = PurePosixPath(name).parent if entry.issym() else PurePosixPath()
        depth = 0
        for part in (start / entry.linkname).parts:
            depth += -1 if part == ".." else 1
            if depth < 0 or part == "/":
                message = f"the link {name!r} leads out of the archive, to {entry.linkname!r}"
                raise DataError(f"{self.place}: {message}; remove it from the archive")

    def _add_folder(self, name: str) -> None:
        if name != "." and not any(map(is_passed_over, name.split("/"))):
            self.folders.add(as_text(name))

    def _wanted(self, name: str, read: Callable[[], bytes], size: int) -> bool:
        def start() -> bytes:
            try:
                return read() if size <= MAX_BYTES else b""
            except Undecodable:
                return b""

        return not self._selection.passes_over(name) and self._selection.takes(name, start)

    def _budget(self) -> int:
        return min(self._max_bytes, max(_ALWAYS_ALLOWED, self._max_ratio * self.place.stat().st_size))

    def _not_a_file(self, name: str) -> DataError:
        return DataError(f"{self.place}: {as_text(name)} is neither a file nor a folder; remove it from the archive")

    def _too_much(self) -> DataError:
        limits = f"{self._max_bytes:,} bytes (`max_bytes`) or {self._max_ratio} times its size (`max_ratio`)"
        return DataError(
            f"{self.place}: expands to more than {limits}, as a zip bomb does; raise the limits if you trust it"
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
            raise DataError(f"{self.place}: not a readable zip or tar archive ({error})") from error


class _Counted(io.RawIOBase):
    """A stream that raises an error when more bytes are read from it than allowed."""

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


_DECLARES_UTF8 = 0x800

_LINK = "a link inside an archive, which is not followed"


def _read_zipped(place: Path, stamp: str, number: int) -> bytes:
    """The bytes of an entry of a zip, in any process."""
    try:
        archive = _opened_zip(place, stamp)
        with _READING:
            return archive.read(archive.infolist()[number])
    except RuntimeError as error:  # raised by zipfile where a password is needed
        raise Undecodable(f"encrypted, or an unsupported compression ({type(error).__name__})") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise Undecodable(f"damaged inside the archive: {error}") from None


_READING = threading.Lock()
"""Held while an entry is read: an open zip counts its readers without one."""


@functools.lru_cache(maxsize=2)
def _opened_zip(place: Path, stamp: str) -> zipfile.ZipFile:
    """An open zip, once in each process, whose threads may share it; the stamp is that of its content."""
    return zipfile.ZipFile(place)


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """The name of an entry. Where no encoding is declared, many programs write UTF-8 instead of code page 437."""
    if entry.flag_bits & _DECLARES_UTF8:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _tar_reader(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Callable[[], bytes]:
    @functools.cache  # a stream cannot be read twice
    def read() -> bytes:
        if entry.issparse():  # a few bytes can represent any number of zeros
            raise Undecodable("a sparse file inside an archive, which is not supported")
        stream = archive.extractfile(entry)
        return stream.read() if stream else b""

    return read


def _decompressed(place: Path) -> IO[bytes]:
    """The tar stream in a file, decompressed if it is compressed."""
    with place.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(place))
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(place)
    if start.startswith(b"BZh"):
        return bz2.open(place)
    return place.open("rb")
