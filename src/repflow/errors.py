"""Errors that the user can fix: one clear message and a defined exit code, without a traceback."""


class RepflowError(Exception):
    """Base class of every expected failure.

    The message says what was given, where, what is allowed and what to do. `exit_code` is the exit code of `repflow`.
    """

    exit_code = 1


class ParameterError(RepflowError):
    """A parameter is unknown, of the wrong type or out of range."""

    exit_code = 2


class DataError(RepflowError):
    """The given data cannot be used as they are."""

    exit_code = 3


class ValidationFailed(RepflowError):
    """A critical rule of the data validation is violated."""

    exit_code = 4


class Diverged(RepflowError):
    """The training loss became infinite or NaN."""


class CodeChanged(RepflowError):
    """The code of a stage is not what its record would say."""

    exit_code = 8


class Interrupted(RepflowError):
    """Training was asked to stop, and saved a checkpoint to resume from."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


class StorageError(RepflowError):
    """A file could not be read or written: the disk is full, or a permission is missing."""

    exit_code = 5
