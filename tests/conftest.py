"""What all tests need."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repflow.hardware.cpu import pin

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# What is tested has the digits of the record, and threads that sleep; so have the processes that tests start.
pin("avx2")

# A shell that starts a command in the background lets it ignore SIGINT, and its children with it. Processes under test
# have to hear the signals that they are sent, however the tests were started.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def configuration() -> dict[str, Any]:
    """What conf/ composes to with the small encoder, and below `methods` the section of every method, by its group.

    It is composed once, as Hydra takes a second each time.
    """
    import yaml

    from repflow.stages.compose import composed

    conf = Path(__file__).parents[1] / "conf"
    files = [path for group in ("pretrain", "finetune", "adapt") for path in sorted((conf / group).glob("*.yaml"))]
    choices = [f"+{path.parent.name}@methods.{path.parent.name}.{path.stem}={path.stem}" for path in files]
    whole: dict[str, Any] = yaml.safe_load(composed(conf, ["encoder=small", *choices]))
    return whole


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Headless Chromium; without one the test is skipped or, where REPFLOW_BROWSER is "required", fails.

    It is closed after each module: while Playwright is at work, this thread counts as one that runs an event loop, in
    which Prefect behaves differently.
    """
    from screenshots import NoBrowser, chromium

    try:
        with chromium() as opened:
            yield opened
    except NoBrowser as error:
        if os.environ.get("REPFLOW_BROWSER") == "required":
            raise
        pytest.skip(str(error))
