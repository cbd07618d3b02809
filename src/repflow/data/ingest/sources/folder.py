"""A folder of image files: `ROOT/[SPLIT/]CLASS/**.{png,jpg,webp,...}`."""

import functools
import os
from pathlib import Path
from typing import Literal

import pandas as pd

from repflow.data.ingest.sources.contract import Collected, Elsewhere, Request, nowhere
from repflow.data.ingest.sources.files import File, FileStream, OnDisk, check_inside, stamp_of, version_of
from repflow.data.ingest.sources.formats import EXTENSIONS, START_BYTES
from repflow.data.ingest.sources.layout import parse_layout
from repflow.data.ingest.sources.names import as_text
from repflow.data.ingest.sources.recognition import form_of, labelling_metadata
from repflow.data.ingest.sources.selection import Selection
from repflow.errors import DataError
from repflow.schema import parameters


@parameters
class Folder:
    """Image files in folders named after their classes; see `layout` for splits and images without a class.

    Attributes:
        path: the folder, relative to `data.root`.
    """

    kind: Literal["folder"]
    path: str

    def collect(self, request: Request) -> Collected:
        """Every image file in the folder, sorted by path. See `Source`."""
        return self.stream(request).collected(request.form)

    def stream(self, request: Request) -> FileStream:
        """The same, to be decoded in shards. See `Streaming`."""
        root = request.root / self.path
        selection = Selection()
        files, folders = find_files(root, request.elsewhere, selection)
        listing = labelling_metadata(root, selection.others)
        if listing:
            raise DataError(
                f"{root}: looks like a Hugging Face image folder, as {listing} lists file names and classes; choose"
                " data=huggingface, or `kind: huggingface`, or remove that file"
            )

        def listed(rows: pd.DataFrame) -> pd.DataFrame:
            layout = parse_layout(rows["path"].tolist(), folders, str(root))
            return rows.assign(given_class=layout["given_class"], split=layout["split"])

        return FileStream(files, listed, version_of(files), movable=True)


def find_files(
    root: Path, elsewhere: Elsewhere = nowhere, selection: Selection | None = None
) -> tuple[list[File], list[str]]:
    """All image files below `root` and the text of all folders, sorted by path. Hidden ones are passed over.

    Args:
        root: the folder.
        elsewhere: the folders outside of `root` that links may lead to.
        selection: keeps which files were turned away.

    Raises:
        DataError: there is no such folder, it has no images, or a link in it leads out of it or to a folder.
    """
    selection = selection or Selection()
    found, folders = walk(root, selection, elsewhere)
    files: list[File] = []
    for name, entry in found:
        path = Path(entry.path)
        if selection.takes(name, functools.partial(_start, path)):
            status = entry.stat() if entry.is_file() else None
            size, stamp = (status.st_size, stamp_of(status)) if status else (0, "")
            files.append(File(name, OnDisk(path), size, stamp))
    selection.report(root.name)
    if not files:
        form = form_of(selection.others)
        raise DataError(
            f"{root}: contains no image files (extensions: {' '.join(EXTENSIONS)})" + (f", but {form}" if form else "")
        )
    return files, folders


def walk(
    root: Path, selection: Selection, elsewhere: Elsewhere = nowhere
) -> tuple[list[tuple[str, "os.DirEntry[str]"]], list[str]]:
    """All files below `root` by their names relative to it, and the text of all folders, sorted by text.

    Args:
        root: the folder.
        selection: says which entries are passed over.
        elsewhere: the folders outside of `root` that links may lead to.

    Raises:
        DataError: there is no such folder, or a link in it leads out of it or to a folder.
    """
    if not root.exists():
        raise DataError(f"{root}: no such folder; check `data.root` and the `path` of the source")
    if not root.is_dir():
        raise DataError(
            f"{root}: is a file, not a folder; for a zip or tar file write `kind: archive`,"
            " for a file of many samples `kind: parquet` or `kind: webdataset`"
        )
    files: list[tuple[str, os.DirEntry[str]]] = []
    folders: list[str] = []
    top = root.resolve()
    allowed = functools.cache(elsewhere)
    waiting = [top]
    while waiting:
        for entry in _entries(waiting.pop()):
            path = Path(entry.path)
            name = path.relative_to(top).as_posix()
            if selection.passes_over(entry.name):
                continue
            if entry.is_symlink():
                _check_link(path, top, allowed)
            if entry.is_dir():
                folders.append(as_text(name))
                waiting.append(path)
            else:
                files.append((name, entry))
    return sorted(files, key=lambda file: as_text(file[0])), sorted(folders)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise DataError(f"{as_text(str(folder))}: cannot be read ({reason}); fix its permissions") from error


def _check_link(link: Path, root: Path, elsewhere: Elsewhere) -> None:
    shown = f"the link {as_text(str(link))}"
    check_inside(link, root, elsewhere, shown)
    if link.is_dir():
        raise DataError(f"{shown}: leads to a folder, which is not followed; replace it with the folder")


def _start(path: Path) -> bytes:
    """The first bytes of a file on disk; none where it cannot be read."""
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError:
        return b""
