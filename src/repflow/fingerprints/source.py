"""Where source files are read from: a tree of files, on this machine or anywhere else."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path


class Source:
    """A tree of files whose top level holds packages. Paths are relative to it, with "/" between their parts.

    Every file is read once, so that all answers are of one moment. Subclasses say how a file is read and what a folder
    holds.
    """

    def __init__(self) -> None:
        self._content: dict[str, bytes | None] = {}

    def load(self, path: str) -> bytes | None:
        """The content of a file, or None where there is no such file."""
        raise NotImplementedError

    def names(self, folder: str) -> Iterable[tuple[str, bool]]:
        """Name of everything in a folder, and whether it is a folder; nothing where there is no such folder."""
        raise NotImplementedError

    def read(self, path: str) -> bytes | None:
        """The content of a file as it was when it was first asked for, or None."""
        if path not in self._content:
            self._content[path] = self.load(path)
        return self._content[path]

    def unchanged(self) -> bool:
        """Whether every file that was read still has the same content, and none that was missing has appeared."""
        return all(self.load(path) == content for path, content in self._content.items())

    def data_files(self, folder: str) -> Iterator[str]:
        """Paths of the files of a package that are not Python's: in its folder, and in subfolders without modules."""
        for name, is_folder in sorted(self.names(folder)):
            path = f"{folder}/{name}"
            if is_folder and name != "__pycache__" and self.read(f"{path}/__init__.py") is None:
                yield from self.data_files(path)
            elif not is_folder and not name.endswith((".py", ".pyc")):
                yield path


class Files(Source):
    """Source files below folders of this machine.

    Args:
        tops: the folders that hold packages, searched in this order.
    """

    def __init__(self, *tops: Path):
        super().__init__()
        self._tops = tops

    def load(self, path: str) -> bytes | None:
        """See `Source.load`."""
        for top in self._tops:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return (top / path).read_bytes()
        return None

    def names(self, folder: str) -> Iterator[tuple[str, bool]]:
        """See `Source.names`."""
        place = next((top / folder for top in self._tops if (top / folder).is_dir()), None)
        return ((entry.name, entry.is_dir()) for entry in (place.iterdir() if place else ()))
