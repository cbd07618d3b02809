"""The measurement of how many labels choose: every rule has an accuracy, and none sees a label beyond the budget."""

import json
from pathlib import Path

import numpy as np
import pytest

import label_budget
from label_budget import BEYOND, CROSS, Images, drawn


@pytest.fixture
def images() -> Images:
    """Two features of 300 digits: the pixels, and noise."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    noise = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    features = {"noise": noise, "pixels": digits.data[:300].astype(np.float32)}
    return Images(features, digits.target[:300].astype(np.int64), np.arange(200), np.arange(200, 300))


def test_every_rule_is_measured_with_the_labels_of_the_budget_alone(images: Images) -> None:
    found = drawn(images, 5, 10, seed=0)
    assert set(found) == {"1 kept", "1 refitted", "2 kept", "2 refitted", CROSS, BEYOND}
    assert found[BEYOND] > 0.7, "the pixels are chosen, not the noise"
    assert found["1 kept"] != found["2 kept"]
    assert drawn(images, 5, 10, seed=0) == found, "the same draw gives the same figures"
    assert drawn(images, 5, 10, seed=1) != found


def test_fewer_classes_are_drawn_and_tested_alone(images: Images) -> None:
    assert drawn(images, 5, 2, seed=3)[BEYOND] > 0.9


def test_refitting_adds_the_labels_that_chose(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    fitted = label_budget.fitted
    monkeypatch.setattr(label_budget, "fitted", lambda of, rows: sizes.append(len(rows)) or fitted(of, rows))
    drawn(images, 10, 10, seed=0)
    assert sizes == [100, 90, 80, 70, 50, *[80] * 5]


def test_the_record_has_a_mean_and_an_error_for_every_rule(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    from repflow.data.ingest.ingestion import describe
    from repflow.data.ingest.sources.contract import listing
    from repflow.data.store import write_store

    digits = load_digits()
    pictures = (digits.images[:300] * (255 / 16)).astype(np.uint8)[:, None].repeat(2, 2).repeat(2, 3)
    rows = listing(
        path=[f"{number:03}" for number in range(300)],
        index=list(range(300)),
        given_class=[str(label) for label in digits.target[:300]],
        split=["train"] * 200 + ["test"] * 100,
    )
    manifest, classes = describe(rows, pictures)
    store = tmp_path / "small/data/stores/source"
    write_store(store, pictures, manifest, classes, {})
    record = tmp_path / "record.json"
    label_budget.main([str(store), "--labels", "3", "--seeds", "2", "--json", str(record)])
    measured = json.loads(record.read_text())
    assert str(tmp_path) not in record.read_text()
    rules = measured["data"]["small"]["3"]
    assert rules[BEYOND]["behind"] == 0
    assert 0.3 < rules[CROSS]["accuracy"] <= 1
    assert rules["1 kept"]["error"] >= 0
