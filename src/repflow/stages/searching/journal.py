"""Where finished trials are kept: a file, or a database for a search that several machines look at."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from repflow.errors import RepflowError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Path]:
    """The folder of a search, made where it is missing, for this process alone.

    Raises:
        RepflowError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RepflowError(f"{folder}: another process is at the same search; wait for it, or end it") from None
        yield folder


def open_storage(place: Path | str) -> "BaseStorage":
    """The storage at `place`, made where it is missing; once, before any trial, so that no two make it at once.

    Args:
        place: a file, for Optuna's journal; or the address of a database, as "postgresql://...".

    Raises:
        RepflowError: the database cannot be reached.
    """
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if isinstance(place, Path):
        _drop_torn_end(place)
        return JournalStorage(JournalFileBackend(str(place)))
    try:
        return RDBStorage(place)
    except Exception as error:  # each database's driver has its own
        raise RepflowError(f"the database of the search cannot be opened: {error}") from error


def _drop_torn_end(journal: Path) -> None:
    """Bring the journal of a killed search in order: it may end in half a line and may have left Optuna's lock."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{journal}.lock")
    with contextlib.suppress(FileNotFoundError), open(journal, "r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
