"""Atomic writing of files and folders, and locks on them."""

import contextlib
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from repflow.errors import RepflowError, StorageError

try:
    import fcntl
except ImportError:  # on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("repflow")


class NoLocksError(StorageError):
    """The file system of a file has no locks, as some network file systems."""


@contextlib.contextmanager
def writing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, and move it to `path` when the block ends without an error.

    If the block fails or the process is killed, `path` stays unchanged; the next writer removes the temporary files. An
    existing file or folder at `path` is replaced.

    Args:
        path: the file or folder to write. Its parent folders are created.
        folder: write a folder instead of a file.

    Raises:
        StorageError: the disk is full, or permission to write is missing.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.name}.partial-*"):
            _remove(left)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
    except OSError as error:
        raise _refused(path, error) from error
    fresh = scratch / path.name
    try:
        if folder:
            fresh.mkdir()
        yield fresh
        _replace(fresh, path)
    except OSError as error:
        if is_refusal(error):
            raise _refused(path, error) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Raise StorageError, which names `path`, where the system refuses to write: the disk is full, or not ours."""
    try:
        yield
    except OSError as error:
        if is_refusal(error):
            raise _refused(path, error) from error
        raise


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[Path]:
    """Lock a folder for this process; it is created if it is missing. A killed process leaves no lock behind.

    Where its file system has no locks, a warning says so, and nothing is locked.

    Args:
        folder: the folder.
        what: what another process would be doing, for the error message: "is running the same search".

    Raises:
        RepflowError: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            if not lock_file(lock):
                raise RepflowError(f"{folder}: another process {what}; wait for it, or stop it")
        except NoLocksError as error:
            log.warning("%s. Nothing stops a second process here: see to it that no other %s", error, what)
        yield folder


def lock_file(file: IO[Any], *, wait: bool = False) -> bool:
    """Lock an open file for this process until it is closed.

    Args:
        file: the file.
        wait: wait for another process that has locked it.

    Returns:
        Whether it is locked; false if another process has locked it.

    Raises:
        NoLocksError: its file system has no locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise NoLocksError(
            f"{file.name}: its file system has no locks ({error.strerror}); keep the project on a local disk, or mount"
            " the file system with locks"
        ) from error
    return True


def is_refusal(error: OSError) -> bool:
    """Does the system refuse to write, as opposed to not finding something?"""
    return error.errno in _REFUSALS


_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


def _refused(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: cannot be written ({os.strerror(error.errno or 0)}); no partial file was left")


def _replace(fresh: Path, path: Path) -> None:
    """Move `fresh` to `path`. A folder cannot be replaced in one step, so the old one is deleted first."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    os.replace(fresh, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
