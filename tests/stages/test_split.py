"""The stage `split`: its output matches the stores, is written atomically, and is counted in the metrics."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.data.ingest.ingestion import describe
from repflow.data.ingest.sources.contract import listing
from repflow.data.read.rows import Side, open_domain
from repflow.data.store import write_store
from repflow.errors import DataError, ParameterError
from repflow.stages import split
from repflow.stages.paths import SPLITS, STORES

DEFAULTS = Path(__file__).parents[2] / "conf" / "split" / "default.yaml"


def store(name: str, first: int, last: int, labels: bool = True, unreadable: int = 0) -> None:
    """Write a store of handwritten digits, with unreadable files first."""
    data = load_digits()
    images = (data.images[first:last] * (255 / 16)).astype(np.uint8)[:, None]
    count = len(images)
    rows = listing(
        path=[f"broken/{number}" for number in range(unreadable)] + [f"digits/{n:04}" for n in range(first, last)],
        index=[-1] * unreadable + list(range(count)),
        given_class=[None] * unreadable + [str(label) if labels else None for label in data.target[first:last]],
        reason=["is cut off"] * unreadable + [None] * count,
    )
    manifest, classes = describe(rows, images)
    write_store(STORES / name, images, manifest, classes, {})


def configure(**changes: object) -> None:
    values = yaml.safe_load(DEFAULTS.read_text()) | {"labels_per_class": 10} | changes
    Path("params.yaml").write_text(yaml.safe_dump({"seed": 0, "split": values}))


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """Both domains and the default split."""
    monkeypatch.chdir(tmp_path)
    store("source", 0, 600, unreadable=2)
    store("target", 900, 1300)
    configure()
    return tmp_path


def test_both_domains_open_with_their_sides_and_the_metrics_count_them(stores):
    split.run()
    metrics = json.loads(Path("metrics/split.json").read_text())
    for name, count in (("source", 600), ("target", 400)):
        domain = open_domain(name, STORES, SPLITS)
        assert domain.classes == tuple("0123456789")
        assert sum(len(domain.rows(side)) for side in Side) == count
        assert len(domain.labelled_rows(Side.LABELLED, Side.VALIDATION)) == 100
        assert metrics[name]["labelled"] == dict.fromkeys(domain.classes, 9)
        assert metrics[name]["validation"] == dict.fromkeys(domain.classes, 1)
        for side in Side:
            rows = domain.rows(side, labels=True)
            counted = zip(domain.classes, np.bincount(rows.labels, minlength=10).tolist(), strict=True)
            assert metrics[name][side] == {label: number for label, number in counted if number}


def test_the_same_stores_and_seed_give_the_same_bytes(stores, tmp_path_factory, monkeypatch):
    names = (
        "data/splits/source.parquet",
        "data/splits/target.parquet",
        "data/splits/classes.json",
        "metrics/split.json",
    )
    split.run()
    first = [Path(name).read_bytes() for name in names]
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    store("source", 0, 600, unreadable=2)
    store("target", 900, 1300)
    configure()
    split.run()
    assert [Path(name).read_bytes() for name in names] == first


def test_a_project_without_a_target_is_split(stores):
    store("target", 0, 0)
    split.run()
    assert len(open_domain("target", STORES, SPLITS).rows(*Side)) == 0
    assert json.loads(Path("metrics/split.json").read_text())["target"] == {side: {} for side in Side}


def test_a_target_without_labels_is_unlabelled(stores):
    store("target", 900, 1300, labels=False)
    split.run()
    counts = json.loads(Path("metrics/split.json").read_text())["target"]
    assert counts == {side: {} for side in Side} | {"unlabelled": {"(no label)": 400}}


def test_a_budget_above_the_available_labels_ends_in_one_message_and_keeps_the_last_split(stores):
    split.run()
    before = Path("data/splits/source.parquet").read_bytes()
    configure(labels_per_class=60)
    ended = CliRunner().invoke(app, ["split"])
    assert ended.exit_code == DataError.exit_code == 3
    assert (
        "labels_per_class: 60 labels per class requested, but in the training rows of the source '0' has"
        in ended.stderr
    )
    assert Path("data/splits/source.parquet").read_bytes() == before
    assert sorted(path.name for path in Path("data/splits").iterdir()) == sorted(
        ["classes.json", "source.parquet", "target.parquet"]
    )


def test_a_source_without_labels_ends_in_one_message(stores):
    store("source", 0, 600, labels=False)
    ended = CliRunner().invoke(app, ["split"])
    assert ended.exit_code == DataError.exit_code
    assert "source: no image has a label" in ended.stderr
    assert not SPLITS.exists()


@pytest.mark.parametrize("share", ["validation", "test"])
def test_a_split_that_nothing_can_be_judged_by_ends_in_one_message(stores, share):
    configure(**{share: 0.0})
    ended = CliRunner().invoke(app, ["split"])
    assert ended.exit_code == DataError.exit_code
    assert f"error: source: no labelled image is in the {share} split" in ended.stderr
    assert f"raise split.{share}" in ended.stderr
    assert not SPLITS.exists()


def test_a_missing_store_says_what_to_run(stores):
    (STORES / "target" / "manifest.parquet").unlink()
    with pytest.raises(DataError, match="data/stores/target: not a readable store"):
        split.run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels_per_clas": 3}, "split.labels_per_clas: unknown parameter; did you mean 'labels_per_class'"),
        ({"labels_per_class": 0}, "split.labels_per_class: 0 is not allowed"),
        ({"validation": 0.7}, "split.validation: 0.7 is not allowed"),
        ({"test": "0.2"}, 'split.test: "0.2" is not allowed'),
        ({"near_duplicate_distance": 20}, "split.near_duplicate_distance: 20 is not allowed"),
    ],
)
def test_a_parameter_misspelt_or_out_of_range_is_named(stores, change, message):
    configure(**change)
    with pytest.raises(ParameterError) as raised:
        split.run()
    assert message in str(raised.value)


def test_sides_stand_in_the_order_of_the_store(stores):
    split.run()
    table = pd.read_parquet("data/splits/source.parquet")
    assert table["index"].tolist() == list(range(600))
    assert set(table["side"]) <= {side.value for side in Side}


@pytest.mark.parametrize(
    ("changes", "training", "validation", "choosing_by"),
    [
        ({}, 90, 10, "labels of the budget"),
        ({"validation": 0.3}, 70, 30, "labels of the budget"),
        ({"validation_within_budget": False}, 100, 60, "labels beside the budget"),
        ({"labels_per_class": None}, 420, 60, "a share of the labels"),
    ],
)
def test_how_many_labels_are_used_in_all_is_said(stores, caplog, changes, training, validation, choosing_by):
    configure(**changes)
    with caplog.at_level("INFO"):
        split.run()
    used = json.loads(Path("metrics/split.json").read_text())["source"]["labels"]
    assert used == {
        "training": training,
        "validation": validation,
        "all": training + validation,
        "choosing_by": choosing_by,
    }
    said = (
        f"{training + validation} labels of the source are used: {training} to train with and {validation} to choose"
        f" models by ({choosing_by})"
    )
    assert said in caplog.text


def test_a_given_validation_split_is_said_to_be_given(stores):
    path = STORES / "source" / "manifest.parquet"
    manifest = pd.read_parquet(path)
    manifest["split"] = pd.array(["validation" if number % 4 == 0 else "train" for number in manifest.index], "string")
    manifest.to_parquet(path, index=False)
    split.run()
    used = json.loads(Path("metrics/split.json").read_text())["source"]["labels"]
    assert used["choosing_by"] == "a given split"
    assert used["training"] == 100


def test_without_a_choice_every_label_counts():
    assert yaml.safe_load(DEFAULTS.read_text())["labels_per_class"] is None
