"""The measurement of `repflow suggest`, on small digits in the place of MNIST: every part, and what it writes."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel
from sklearn.datasets import load_digits

import suggestions


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the digits of scikit-learn as MNIST's files."""
    digits = load_digits()
    pixels, labels = (digits.images * 15.9).astype(np.uint8), digits.target.astype(np.uint8)
    (tmp_path / "mnist").mkdir()
    for name, rows in (("train", slice(0, 1300)), ("t10k", slice(1300, None))):
        for kind, array in (("images-idx3", pixels[rows]), ("labels-idx1", labels[rows])):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (tmp_path / "mnist" / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return tmp_path


def test_every_choice_is_measured_and_recorded(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "record.json"
    command = [str(data), "--only", "mnist", "--features", "hog", "--seeds", "2", "--json", str(file)]
    assert suggestions.main([*command, "--work", str(tmp_path / "work")]) == 0
    text = file.read_text(encoding="utf-8")
    record = json.loads(text)
    accuracy = record["data"]["mnist"]["hog"]["accuracy"]
    assert set(accuracy) == {"before", "random", *suggestions.CHOICES}
    assert all(len(scores) == 2 for scores in accuracy.values())
    assert all(np.mean(accuracy[name]) > np.mean(accuracy["before"]) for name in accuracy if name != "before")
    assert str(tmp_path) not in text
    assert capsys.readouterr().out.startswith("| mnist, hog | ")


def test_differences_are_paired() -> None:
    ours, theirs = [0.5, 0.6, 0.72, 0.8, 0.9], [0.4, 0.55, 0.6, 0.75, 0.8]
    found = suggestions.difference(ours, theirs)
    expected = ttest_rel(ours, theirs).confidence_interval(0.95)
    assert found["mean"] == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
