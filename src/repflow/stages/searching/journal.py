"""Storage of finished trials: a journal file, or a database that several machines can reach."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from repflow.errors import RepflowError
from repflow.files import locked

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.storages.journal import JournalFileOpenLock, JournalFileSymlinkLock


@contextlib.contextmanager
def exclusive_folder(folder: Path) -> Iterator[Path]:
    """Lock the folder of a search for this process; the folder is created if it is missing.

    Raises:
        RepflowError: another process has locked it.
    """
    with locked(folder, "is running the same search"):
        yield folder


def open_storage(place: Path | str) -> "BaseStorage":
    """Open or create the storage at `place`. Called once, before any trial, so that it is not created twice at once.

    Args:
        place: a file for Optuna's journal, or the URL of a database, as "postgresql://...".

    Raises:
        RepflowError: the database cannot be reached.
    """
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if isinstance(place, Path):
        _drop_partial_line(place)
        return JournalStorage(JournalFileBackend(str(place), _journal_lock(place)))
    try:
        return RDBStorage(place)
    except Exception as error:  # each database driver has its own exceptions
        raise RepflowError(
            f"the database of the search cannot be opened: {error}; check its URL and that its server is running"
        ) from error


def _journal_lock(journal: Path) -> "JournalFileOpenLock | JournalFileSymlinkLock":
    """Optuna's lock by a symbolic link or, where the file system has none, by a file; both know each other."""
    from optuna.storages.journal import JournalFileOpenLock, JournalFileSymlinkLock

    link = f"{journal}.link-{os.getpid()}"
    try:
        os.symlink(journal.name, link)
        os.unlink(link)
    except OSError:
        return JournalFileOpenLock(str(journal))
    return JournalFileSymlinkLock(str(journal))


def _drop_partial_line(journal: Path) -> None:
    """Repair the journal of a killed search: remove an incomplete last line, and a lock file left by Optuna."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{journal}.lock")
    with contextlib.suppress(FileNotFoundError), open(journal, "r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
