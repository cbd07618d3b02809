"""Training progress: a progress bar on a terminal, log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from repflow.units import duration_in_words

log = logging.getLogger("repflow")

LINES = 10
"""Log lines per training, where standard error is not a terminal."""

_TIMED, _FEWEST, _SECONDS = 9, 2, 3.0
"""Steps after the first that an estimate is made from; where they are slow, at least so many, in so many seconds."""


class Progress:
    """Says after a few steps how long the training takes; shows step, loss, images per second and the remaining time.

    Args:
        title: what is being trained.
        steps: total number of steps.
        done: steps already trained by an interrupted process.
        silent: no output.
        wait: waits for a device that is given work ahead.
        beside: what the training does beside its steps, for the estimate, as " and up to 20 validations".
    """

    def __init__(
        self,
        title: str,
        steps: int,
        done: int = 0,
        silent: bool = False,
        wait: Callable[[], None] = lambda: None,
        beside: str = "",
    ):
        self._title, self._steps, self._done, self._silent = title, steps, done, silent
        self._wait, self._beside = wait, beside
        self._warm: float | None = None
        self._estimated = silent
        hidden = silent or not sys.stderr.isatty()
        self._bar = tqdm(total=steps, initial=done, desc=title, unit="step", disable=hidden, leave=False)
        self._started = time.monotonic()
        self._line_every = max(1, steps // LINES)
        self._next_line = (done // self._line_every + 1) * self._line_every

    def count(self, step: int) -> None:
        """Count a step; after a few of them, log how long the training takes.

        The first one is left out: it counts floating-point operations, and libraries prepare themselves in it.

        Args:
            step: steps trained so far.
        """
        if self._estimated:
            return
        if self._warm is None:
            self._wait()
            self._warm = time.monotonic()
            return
        timed = step - self._done - 1
        if timed < _TIMED and (timed < _FEWEST or time.monotonic() - self._warm < _SECONDS):
            return
        self._estimated = True
        self._wait()
        left = (time.monotonic() - self._warm) / timed * (self._steps - step)
        whole = duration_in_words(time.monotonic() - self._started + left)
        with tqdm.external_write_mode(file=sys.stderr):  # not in the middle of the bar
            log.info("%s: about %s%s", self._title, whole, self._beside)

    def show(self, step: int, loss: float, images: int) -> None:
        """Show the progress after `step` steps.

        Args:
            step: steps trained so far.
            loss: latest training loss.
            images: training images processed so far, over all streams.
        """
        elapsed = max(time.monotonic() - self._started, 1e-9)
        here = step - self._done
        rate = f"{images * here / step / elapsed:,.0f} images/s"
        self._bar.set_postfix_str(f"loss {loss:.4g}, {rate}", refresh=False)
        self._bar.update(step - self._bar.n)
        if self._bar.disable and not self._silent and (step >= self._next_line or step == self._steps):
            self._next_line = (step // self._line_every + 1) * self._line_every
            left = elapsed / here * (self._steps - step)
            log.info("%s: step %d/%d, loss %.4g, %s, %.0f s left", self._title, step, self._steps, loss, rate, left)

    def close(self) -> None:
        """Remove the progress bar."""
        self._bar.close()
