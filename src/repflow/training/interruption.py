"""SIGTERM and SIGINT while a training runs: finish the step, save, and say so."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Notes the first signal rather than obeying it, inside a `with` block; the second one is obeyed at once.

    Signals go to the main thread of a process; in any other, nothing is changed.

    Args:
        active: whether to listen at all: pointless where nothing can be saved.
    """

    def __init__(self, active: bool):
        self._active = active and threading.current_thread() is threading.main_thread()
        self._previous: dict[int, Any] = {}
        self.heard = False

    def __enter__(self) -> "Interruption":
        if self._active:
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
