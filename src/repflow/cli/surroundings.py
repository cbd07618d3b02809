"""What a command needs from the machine it runs on: streams that take every character, the name of a user, a home."""

import getpass
import io
import os
import sys
from pathlib import Path


def take_every_character() -> None:
    """Let the standard streams write an escape for a character that their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def have_a_name_and_a_home() -> None:
    """Set USER and HOME for a user who has neither, as in a container: libraries fail at import without them.

    The home does not exist, so that libraries find no settings there and keep nothing.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/nonexistent"
    try:
        getpass.getuser()
    except KeyError:
        os.environ["USER"] = str(os.getuid())
