"""Which entries of a folder or archive are image files, and a report of all that are not."""

import logging
from collections.abc import Callable

from repflow.data.ingest.sources.formats import has_ending, is_image_name, starts_as_image
from repflow.data.ingest.sources.names import as_text, is_passed_over
from repflow.data.watched import LABELS

SHOWN = 3
"""How many names of a kind are logged."""

log = logging.getLogger("repflow")


class Selection:
    """Tells image files from others, and remembers what it turned away."""

    def __init__(self) -> None:
        self._others: list[str] = []
        self._passed_over: list[str] = []

    def passes_over(self, path: str) -> bool:
        """Is a part of this path hidden, or of an operating system or storage box?"""
        part = next(filter(is_passed_over, path.split("/")), None)
        if part is not None:
            self._passed_over.append(part)
        return part is not None

    def takes(self, path: str, start: Callable[[], bytes]) -> bool:
        """Is this file an image, by its ending or, where it has none, by its content?

        Args:
            path: the file's path.
            start: reads the file's first bytes, or all of them; called only where the name has no ending.
        """
        if is_image_name(path) or (not has_ending(path) and starts_as_image(start())):
            return True
        self.turns_away(path)
        return False

    def turns_away(self, path: str) -> None:
        """Remember a file that is not used."""
        if path != LABELS:  # is read as added labels
            self._others.append(path)

    @property
    def others(self) -> tuple[str, ...]:
        """The files that were turned away."""
        return tuple(self._others)

    def report(self, where: str, what: str = "files without an image extension") -> None:
        """Log what was turned away; `what` says what such files are."""
        if self._passed_over:
            log.info(
                "%s: passed over %d hidden entries and entries of the system, such as %s",
                where,
                len(self._passed_over),
                _some(self._passed_over),
            )
        if self._others:
            log.warning(
                "%s: skipped %d %s, such as %s",
                where,
                len(self._others),
                what,
                _some(self._others),
            )


def _some(names: list[str]) -> str:
    return ", ".join(sorted({as_text(name) for name in names})[:SHOWN])
