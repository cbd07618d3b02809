"""A folder of image files: `ROOT/[SPLIT/]CLASS/**.{png,jpg,webp,...}`."""

import functools
import logging
import os
from pathlib import Path
from typing import Literal

from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.files import (
    EXTENSIONS,
    File,
    check_inside,
    decode_files,
    is_hidden,
    is_image_name,
    read_content,
)
from repflow.data.ingest.sources.layout import parse_layout
from repflow.errors import DataError
from repflow.schema import parameters

log = logging.getLogger("repflow")


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
        root = request.root / self.path
        files, folders = find_files(root)
        collected = decode_files(files, request.form)
        layout = parse_layout(collected.listing["path"].tolist(), folders, str(root))
        rows = collected.listing.assign(given_class=layout["given_class"], split=layout["split"])
        return Collected(collected.images, rows)


def find_files(root: Path) -> tuple[list[File], list[str]]:
    """All image files below `root` and all folders, sorted by path. Hidden files and folders are skipped.

    Raises:
        DataError: there is no such folder, it has no images, or a link in it leads out of it or to a folder.
    """
    if not root.exists():
        raise DataError(f"{root}: no such folder; check `data.root` and the `path` of the source")
    if not root.is_dir():
        raise DataError(f"{root}: is a file, not a folder; for a zip or tar file write `kind: archive`")
    files: list[File] = []
    folders: list[str] = []
    passed: list[str] = []
    waiting = [root.resolve()]
    while waiting:
        for entry in _entries(waiting.pop()):
            path = Path(entry.path)
            name = path.relative_to(root.resolve()).as_posix()
            if entry.is_symlink():
                _check_link(path, root.resolve())
            if entry.is_dir():
                folders.append(name)
                waiting.append(path)
            elif is_image_name(entry.name):
                size = entry.stat().st_size if entry.is_file() else 0
                files.append(File(name, functools.partial(read_content, path), size))
            else:
                passed.append(name)
    if not files:
        raise DataError(f"{root}: contains no image files (extensions: {' '.join(EXTENSIONS)})")
    report_skipped(root.name, passed)
    return sorted(files, key=lambda file: file.path), sorted(folders)


def report_skipped(where: str, passed: list[str]) -> None:
    """Log a warning about files that were skipped because they have no image extension."""
    if passed:
        log.warning("%s: skipped %d files without an image extension, such as %s", where, len(passed), min(passed))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({os.strerror(error.errno or 0)}); fix its permissions") from error


def _check_link(link: Path, root: Path) -> None:
    check_inside(link, root, f"the link {link}")
    if link.is_dir():
        raise DataError(f"the link {link}: leads to a folder, which is not followed; replace it with the folder")
