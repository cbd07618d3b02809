"""Training progress: a progress bar on a terminal, log lines elsewhere."""

import logging
import sys
import time

from tqdm import tqdm

log = logging.getLogger("repflow")

LINES = 10
"""Log lines per training, where standard error is not a terminal."""


class Progress:
    """Shows step, loss, images per second and the remaining time.

    Args:
        title: what is being trained.
        steps: total number of steps.
        done: steps already trained by an interrupted process.
        silent: no output.
    """

    def __init__(self, title: str, steps: int, done: int = 0, silent: bool = False):
        self._title, self._steps, self._done, self._silent = title, steps, done, silent
        hidden = silent or not sys.stderr.isatty()
        self._bar = tqdm(total=steps, initial=done, desc=title, unit="step", disable=hidden, leave=False)
        self._started = time.monotonic()
        self._line_every = max(1, steps // LINES)
        self._next_line = (done // self._line_every + 1) * self._line_every

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
