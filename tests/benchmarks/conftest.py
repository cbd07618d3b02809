"""What the tests of benchmarks leave as it was."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Benchmarks measure with native instructions, and so take back in this process what all tests have pinned."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
