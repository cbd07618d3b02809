"""How a command ends: an expected failure in one message, and every ending with an exit code of its own."""

import errno
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from repflow.errors import RepflowError, StorageError

_INTERRUPTED = 130
_TERMINATED = 143


class Commands(TyperGroup):
    """Runs a command so that an expected failure ends in one message and the exit code that is meant."""

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
    """The error that a user can mend, or None for one that only a programmer can."""
    if isinstance(error, RepflowError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{error.filename}: {error.strerror}; mend the permissions and run the command again")
    for cause in _chain(error):
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        # Writers in other languages give the number only in their text.
        if full or f"os error {errno.ENOSPC}" in str(cause):
            return StorageError(f"the disk is full ({cause}); free some space and run the command again")
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
