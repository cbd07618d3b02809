"""How training comes along: a bar on a terminal, plain lines elsewhere."""

import logging
import sys
import time

from tqdm import tqdm

log = logging.getLogger("repflow")

LINES = 10
"""Plain lines in one training, where standard error is not a terminal."""


class Progress:
    """Shows step, loss, rate and the time left.

    Args:
        title: what is being trained.
        steps: of the whole training.
        done: steps that were done before, by a process that was stopped.
        silent: show nothing.
    """

    def __init__(self, title: str, steps: int, done: int = 0, silent: bool = False):
        self._title, self._steps, self._done, self._silent = title, steps, done, silent
        hidden = silent or not sys.stderr.isatty()
        self._bar = tqdm(total=steps, initial=done, desc=title, unit="step", disable=hidden, leave=False)
        self._started = time.monotonic()
        self._line_every = max(1, steps // LINES)
        self._next_line = (done // self._line_every + 1) * self._line_every

    def show(self, step: int, loss: float, images: int) -> None:
        """Tell that `step` steps are done.

        Args:
            step: steps done so far.
            loss: the latest.
            images: seen so far, of all streams.
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
        """Take the bar away."""
        self._bar.close()
