"""What the tests of benchmarks leave as it was, and digits for those of the leaderboard."""

import os
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from repflow.data.read.rows import Domain, Side
from repflow.data.store import Store


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Benchmarks measure with native instructions, and so take back in this process what all tests have pinned."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def digits_domain() -> Callable[[int, int, int], Domain]:
    """`digits_domain(UNLABELLED, VALIDATION, TEST)`: so many digits on each side, as a store in memory."""

    def made(*counts: int) -> Domain:
        from sklearn.datasets import load_digits

        digits, count = load_digits(), sum(counts)
        images = np.repeat((digits.images[:count, None] * 255 / 16).astype(np.uint8), 3, axis=1)
        given = pd.Series([str(label) for label in digits.target[:count]], dtype="string")
        manifest = pd.DataFrame({"index": np.arange(count), "given_class": given, "group": pd.Series([None] * count)})
        sides = np.repeat([Side.UNLABELLED.value, Side.VALIDATION.value, Side.TEST.value], counts)
        classes = tuple(str(number) for number in range(10))
        return Domain("source", Store(images, manifest, classes), sides, classes)

    return made
