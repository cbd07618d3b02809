"""Handling of SIGTERM and SIGINT during training: finish the step, save a checkpoint, exit."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Inside a `with` block, the first signal sets `requested`; a second one has its usual effect.

    Python handles signals in the main thread; in any other thread nothing is changed.

    Args:
        active: False leaves the handlers alone, for a training that saves no checkpoints.
    """

    def __init__(self, active: bool):
        self._active = active and threading.current_thread() is threading.main_thread()
        self._previous: dict[int, Any] = {}
        self.requested = False

    def __enter__(self) -> "Interruption":
        if self._active:
            self._previous = {number: signal.signal(number, self._request) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore_handlers()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
