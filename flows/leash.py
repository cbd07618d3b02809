"""Runs a command that is not to outlive the one who holds the other end of standard input, however that one ends.

    python leash.py SECONDS COMMAND...

At the end of standard input the process group gets SIGTERM, and SIGKILL after so many seconds. Otherwise the exit code
is the command's.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress


def main(patience: float, command: list[str]) -> int:
    """Run `command`; its exit code, or 128 and the number of the signal that ended it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _pass_over)  # the command hears them, too: it would inherit SIG_IGN, but no handler
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    abandoned = threading.Event()
    end = threading.Thread(target=_end_with_holder, args=(patience, abandoned), daemon=True)
    end.start()
    code = child.wait()
    if abandoned.is_set():
        end.join()  # there may be others in the group
    return code if code >= 0 else 128 - code


def _pass_over(number: int, frame: object) -> None:
    """The group is ended as a whole; this process waits for the command."""


def _end_with_holder(patience: float, abandoned: threading.Event) -> None:
    with suppress(OSError):
        while os.read(0, 64):
            pass
    abandoned.set()
    os.killpg(0, signal.SIGTERM)
    time.sleep(patience)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
