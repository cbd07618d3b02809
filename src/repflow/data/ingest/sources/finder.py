"""Finds the files that a table lists."""

import os
from pathlib import Path, PurePosixPath

from repflow.data.ingest.sources.contract import Elsewhere
from repflow.data.ingest.sources.files import check_inside
from repflow.data.ingest.sources.names import as_text


class Finder:
    """Finds the files of a table on disk, also where a name is spelt in another Unicode form there."""

    def __init__(self, root: Path, elsewhere: Elsewhere) -> None:
        self._root, self._elsewhere = root, elsewhere
        self._names: dict[Path, dict[str, str]] = {}

    def find(self, path: str, where: str) -> Path:
        """The place of `path` on disk, or where it would be.

        Raises:
            DataError: the path leads out of the root.
        """
        shown = f"{where}: {as_text(path)}"
        for spelling in (path, path.replace("\\", "/")):
            found = self._root / spelling
            self._check(found, shown)
            if not os.path.lexists(found):
                found = self._respelt(spelling)
                self._check(found, shown)
            if found.exists():
                return found
        return self._root / path

    def _check(self, place: Path, shown: str) -> None:
        check_inside(place, self._root, self._elsewhere, shown)

    def _respelt(self, path: str) -> Path:
        """The path with every part as it is spelt on disk, where a part has the same text there."""
        found = self._root
        for part in PurePosixPath(path).parts:
            found = found / self._spellings(found).get(as_text(part), part)
        return found

    def _spellings(self, folder: Path) -> dict[str, str]:
        """The names in a folder by their text."""
        if folder not in self._names:
            try:
                self._names[folder] = {as_text(name): name for name in os.listdir(folder)}
            except OSError:
                self._names[folder] = {}
        return self._names[folder]
