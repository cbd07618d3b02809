"""Fixtures for the tests of data: generated image files, and real data if present."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.sources.contract import Collected, Request, Source

REAL_DATA = Path(os.environ.get("REPFLOW_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with `mnist/` and `bsds500_train.tar.xz`; the test is skipped where there is none."""
    if not (REAL_DATA / "mnist").is_dir():
        pytest.skip(f"no MNIST in {REAL_DATA}; name a folder that holds mnist/*.gz in REPFLOW_DATA")
    return REAL_DATA


@pytest.fixture
def collect(tmp_path: Path) -> Callable[..., Collected]:
    """Collect a source whose relative paths start in the test's own folder."""

    def run(source: Source, size: int = 16, channels: int = 3, resize: Any = "stretch", seed: int = 0) -> Collected:
        return source.collect(Request(ImageFormat(size, channels, resize), tmp_path, seed, "test"))

    return run


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[..., Path]:
    """Write a small image to each of the given paths, each in a different colour."""

    def write(*paths: str, root: Path = tmp_path) -> Path:
        for number, path in enumerate(paths):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(image_file((number * 20 % 256, 100, 200), Path(path).suffix.lower()))
        return root

    return write


def image_file(colour: tuple[int, int, int], ending: str = ".png", size: tuple[int, int] = (20, 20)) -> bytes:
    """The bytes of an image file in one colour."""
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, Image.registered_extensions()[ending])
    return content.getvalue()


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    """The function `image_file`, for tests that write files or archives themselves."""
    return image_file


@pytest.fixture(scope="session")
def texture() -> np.ndarray:
    """An image with structure: uint8 [64, 48, 3]."""
    rows, columns = np.mgrid[0:64, 0:48]
    waves = [np.sin(rows / 5 + columns / 9), np.cos(columns / 4), np.sin((rows * columns) / 300)]
    return np.rint(np.stack(waves, axis=2) * 100 + 128).astype(np.uint8)
