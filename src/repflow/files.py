"""Writing that either happens whole or not at all."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from repflow.errors import StorageError


@contextlib.contextmanager
def writing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Give a fresh place beside `path` to write to, and move it to `path` when the block ends well.

    A block that fails, or a process that is killed, leaves `path` as it was; leftovers of a killed writer are removed
    by the next one. An existing file or folder at `path` is replaced.

    Args:
        path: the file or folder to make. Its parents are created.
        folder: make a folder rather than a file.

    Raises:
        StorageError: the disk is full or may not be written to.
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
        if error.errno in _REFUSALS:
            raise _refused(path, error) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


def _refused(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: cannot be written ({os.strerror(error.errno or 0)}); nothing was left half-written")


def _replace(fresh: Path, path: Path) -> None:
    """Move `fresh` to `path`. A folder cannot be swapped in one step, so the old one leaves first."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    os.replace(fresh, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
