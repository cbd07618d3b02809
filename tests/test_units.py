"""Durations and sizes in words."""

import pytest

from repflow.units import duration_in_words, size_in_words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (360, "6 min"), (5000, "83 min"), (9000, "2.5 h")]
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 KiB"), (2048, "2 KiB"), (3 * 2**20, "3 MiB"), (1100 * 2**20, "1.1 GiB"), (5 * 2**40, "5.0 TiB")],
)
def test_a_size_in_words(number: int, words: str) -> None:
    assert size_in_words(number) == words
