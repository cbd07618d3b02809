"""Atomic writing of files and folders."""

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
        if error.errno in _REFUSALS:
            raise _refused(path, error) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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
