"""The leaderboard: every method is in it by being there, and its table says what the metrics say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from repflow.data.rows import Domain, Side
from repflow.data.store import Store
from repflow.evaluation.probes import ProbeConfig
from repflow.training.cost import Meter
from zoo import compose, learn, table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "benchmarks/zoo/params.yaml").read_text())
    return values


def test_every_method_has_an_entry_for_each_data_set_and_seed(params: dict[str, Any]) -> None:
    names = {path.stem for path in (ROOT / "conf/pretrain").glob("*.yaml")} | {compose.FLOOR, compose.CEILING}
    expected = {f"{data}-{name}-{seed}" for data in compose.IMAGES for name in names for seed in compose.SEEDS}
    assert set(params["entries"]) == expected
    for entry in params["entries"].values():
        assert (ROOT / "src/repflow" / entry["module"]).is_file()


def test_what_is_written_is_what_conf_composes_to(
    params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "HERE", tmp_path)
    compose.main()
    assert yaml.safe_load((tmp_path / "params.yaml").read_text()) == params


def test_every_method_sees_as_many_images(params: dict[str, Any]) -> None:
    for data, sections in params["settings"].items():
        for name, section in sections.items():
            seen = section["training"]["steps"] * section["training"]["batch_size"]
            wanted = 0 if name == compose.FLOOR else compose.IMAGES[data]
            assert wanted - section["training"]["batch_size"] < seen <= wanted


@pytest.fixture
def domain() -> Domain:
    """160 digits as a store in memory."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.repeat((digits.images[:160, None] * 255 / 16).astype(np.uint8), 3, axis=1)
    given = pd.Series([str(label) for label in digits.target[:160]], dtype="string")
    manifest = pd.DataFrame({"index": np.arange(160), "given_class": given, "group": pd.Series([None] * 160)})
    sides = np.where(np.arange(160) < 120, Side.UNLABELLED.value, Side.TEST.value)
    classes = tuple(str(number) for number in range(10))
    return Domain("source", Store(images, manifest, classes), sides, classes)


@pytest.mark.parametrize("name", [compose.FLOOR, compose.CEILING, "simclr"])
def test_an_entry_is_trained_and_read(params: dict[str, Any], domain: Domain, name: str) -> None:
    section = params["settings"]["digits"][name]
    steps = 0 if name == compose.FLOOR else 2
    values = {**section, "training": {**section["training"], "steps": steps, "batch_size": 16}}
    meter = Meter()
    encoder, method = learn.learn(values, domain, name, 0, meter)
    found = learn.read(ProbeConfig(), encoder, method, domain, 0)
    assert set(found) == {"knn", "linear", "linear_few", "clusters"}
    assert all(0 <= found[each] <= 1 for each in ("knn", "linear", "linear_few"))
    assert meter.cost().images == steps * 16
    assert not encoder.training


def test_only_the_ceiling_sees_labels(params: dict[str, Any], domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def spy(method: Any, rows: Any, *arguments: Any, **named: Any) -> None:
        seen[named["title"]] = {int(label) for each in rows.values() for label in each.labels}

    monkeypatch.setattr(learn, "train", spy)
    for name in (compose.CEILING, "simclr"):
        learn.learn(params["settings"]["digits"][name], domain, name, 0, Meter())
    assert seen == {compose.CEILING: set(range(10)), "simclr": {-1}}


def run(folder: Path, name: str, seed: int, knn: float) -> None:
    path = folder / "metrics" / "digits" / f"{name}-{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    k_means = {"acc": 0.5, "nmi": 0.4, "ari": 0.3}
    values = {"knn": knn, "linear": knn, "linear_few": knn / 2, "clusters": {"k_means": k_means}, "flops": 2e12}
    path.write_text(json.dumps(values))
    cost = folder / "costs" / "digits" / path.name
    cost.parent.mkdir(parents=True, exist_ok=True)
    cost.write_text(json.dumps({"seconds": 30.0}))


def test_the_table_orders_methods_and_says_which_are_above_the_floor(tmp_path: Path) -> None:
    for seed, shift in enumerate((-0.01, 0.0, 0.01)):
        run(tmp_path, compose.FLOOR, seed, 0.5 + shift)
        run(tmp_path, "good", seed, 0.8 + shift)
        run(tmp_path, "close", seed, 0.52 + shift)
    lines = table.table(table.read(tmp_path)).splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == ["good", "close", compose.FLOOR]
    assert lines[2].startswith("| `good` | 0.800 ± 0.006 | 0.400 ± 0.003 | 0.800 ± 0.006 | 0.500 ± 0.000 |")
    assert lines[2].endswith("| 2 | 30 | yes |")
    assert lines[3].endswith("| no (2.4 standard errors) |")


def test_one_seed_is_no_verdict(tmp_path: Path) -> None:
    run(tmp_path, compose.FLOOR, 0, 0.5)
    run(tmp_path, "good", 0, 0.8)
    assert table.table(table.read(tmp_path)).splitlines()[2].endswith("| 1 seed |")
