"""Errors that are the user's to mend: one clear message and an exit code that is meant, never a traceback."""


class RepflowError(Exception):
    """Base of every expected failure.

    The message says what was given, where, what is allowed and what to do. `exit_code` is what `repflow` ends with.
    """

    exit_code = 1


class ParameterError(RepflowError):
    """A parameter is unknown, of the wrong type or out of its range."""

    exit_code = 2


class DataError(RepflowError):
    """The data that were named cannot be used as they are."""

    exit_code = 3


class ValidationFailed(RepflowError):
    """A critical rule of the validation was broken."""

    exit_code = 4


class Diverged(RepflowError):
    """A training's loss became infinite or no number."""


class Interrupted(RepflowError):
    """A training was asked to stop, and saved what it needs to go on."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


class StorageError(RepflowError):
    """The machine refused to read or write: a full disk, a missing permission."""

    exit_code = 5
