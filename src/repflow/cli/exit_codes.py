"""Exit codes of commands: an expected failure ends with one message and its own exit code, not with a traceback."""

import errno
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from repflow.cli.surroundings import have_a_name_and_a_home, take_every_character
from repflow.errors import RepflowError, StorageError

_INTERRUPTED = 130
_TERMINATED = 143


class Commands(TyperGroup):
    """Runs a command so that an expected failure prints one message and ends with its exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        take_every_character()
        have_a_name_and_a_home()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        previous = signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        except Exception as error:
            expected = _expected(error)
            if expected is None or ctx.params.get("verbose"):
                raise
            typer.echo(f"error: {expected}", err=True)
            sys.exit(expected.exit_code)
        finally:
            signal.signal(signal.SIGTERM, previous)


def _terminate(number: int, frame: object) -> NoReturn:
    sys.exit(_TERMINATED)


def _expected(error: BaseException) -> RepflowError | None:
    """The error as one that the user can fix, or None for a programming error."""
    if isinstance(error, RepflowError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{error.filename}: {error.strerror}; fix the permissions and run the command again")
    if isinstance(error, FileNotFoundError) and "No usable temporary directory" in str(error):
        return StorageError(f"{error.strerror}; set TMPDIR to a folder that can be written to")
    for cause in _chain(error):
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        # Errors of libraries in other languages have the number only in their text.
        if full or f"os error {errno.ENOSPC}" in str(cause):
            return StorageError(f"the disk is full ({cause}); free some space and run the command again")
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
