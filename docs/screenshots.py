"""Takes the pictures of the Prefect UI and of the report that the docs show, in headless Chromium.

    make repro                                # so that the report and DVC's cache are there
    make ui                                   # and in another terminal, where it can be watched:
    python docs/screenshots.py                # writes docs/*.png

It does what a person would: opens the form of `pipeline`, chooses another method, starts the run and waits for its end.
"""

import argparse
import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

DOCS = Path(__file__).absolute().parent

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""What keeps Chromium from asking for a GPU, or the network on its own account."""

_LARGEST = 200_000
"""Bytes of a picture in the repository."""


class NoBrowser(Exception):
    """There is no Chromium on the PATH."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium with a profile of its own, without a window.

    Raises:
        NoBrowser: there is none.
    """
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise NoBrowser(f"none of {', '.join(BROWSERS)} is on the PATH")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=_QUIET) as browser:
        yield browser
