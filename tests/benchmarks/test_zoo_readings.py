"""The readings of the leaderboard, the trials of settings, and the verdicts."""

import csv
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repflow.data.read.rows import TRAINING, Domain, Side
from repflow.data.store import Store
from repflow.encoders import Encoder, build_encoder
from repflow.encoders.classical import PixelsConfig
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.encoder import normalise_by
from repflow.encoders.layer_features import LayerFeatures, widths
from repflow.evaluation.features import encode
from repflow.evaluation.layer_choice import LayerChoiceConfig, encoder_of, rank_layers
from repflow.evaluation.probes import ProbeConfig
from zoo import FLOOR, floor_of, verdicts
from zoo.learn import write_right
from zoo.readings import NEIGHBOURS, Readings


@pytest.fixture(scope="module")
def domain(digits_domain: Callable[[int, int, int], Domain]) -> Domain:
    """600 digits."""
    return digits_domain(300, 100, 200)


@pytest.fixture(scope="module")
def encoder(domain: Domain) -> Encoder:
    """Random weights, whose last layer tells nothing: it is constant."""
    torch.manual_seed(0)
    encoder = build_encoder(SmallConfig(widths=(16, 32)), 3, 8).eval()
    normalise_by(encoder, domain.store.images)
    with torch.no_grad():
        encoder.body.maps[-1][1].weight.zero_()  # type: ignore[index, union-attr]
    return encoder


def test_the_layer_that_validation_images_choose_tells_classes_apart(domain: Domain, encoder: Encoder) -> None:
    training, validation = domain.labelled_rows(*TRAINING), domain.labelled_rows(Side.VALIDATION)
    ranked = rank_layers(LayerChoiceConfig(), encoder, training, validation)
    assert len(ranked) == 3 * 3
    assert [each.accuracy for each in ranked] == sorted((each.accuracy for each in ranked), reverse=True)
    assert ranked[0].layer < 2
    assert {each.layer for each in ranked[-3:]} == {2}, "the constant layer is the last"
    assert ranked[0].accuracy > ranked[-1].accuracy + 0.4
    layer = encoder_of(ranked[0], encoder, 8)
    assert encode(layer, validation.images).shape == (100, layer.width)


def test_of_equal_layers_the_last_and_the_coarsest_is_chosen(domain: Domain, encoder: Encoder) -> None:
    rows = domain.labelled_rows(*TRAINING), domain.labelled_rows(Side.VALIDATION)
    ranked = rank_layers(LayerChoiceConfig(), encoder, *rows, lambda *_: 0.5)
    assert [(each.layer, each.grid) for each in ranked[:4]] == [(2, 1), (2, 2), (2, 4), (1, 1)]


def test_without_validation_images_or_layers_there_is_nothing_to_choose(domain: Domain, encoder: Encoder) -> None:
    training, validation = domain.labelled_rows(*TRAINING), domain.labelled_rows(Side.VALIDATION)
    assert rank_layers(LayerChoiceConfig(), encoder, training, domain.labelled_rows(Side.EXCLUDED)) == []
    assert rank_layers(LayerChoiceConfig(), build_encoder(PixelsConfig(), 3, 8).eval(), training, validation) == []


def test_the_readings_have_the_last_layer_and_the_chosen_ones(domain: Domain, encoder: Encoder) -> None:
    found = Readings(ProbeConfig(), encoder, domain, 0)
    chosen = found.accuracies["chosen"]
    assert chosen["linear"] > found.accuracies["linear"] + 0.4
    assert chosen["knn"] > found.accuracies["knn"] + 0.4
    assert set(found.right) == {"knn", "linear", "chosen_knn", "chosen_linear"}
    for name, right in found.right.items():
        place, reading = (chosen, name.removeprefix("chosen_")) if "chosen" in name else (found.accuracies, name)
        assert right.mean() == place[reading]
    for place in (found.accuracies, chosen):
        assert {scaling: tuple(each) for scaling, each in place["neighbours"].items()} == {
            "raw": NEIGHBOURS,
            "standardised": NEIGHBOURS,
        }
    assert chosen["knn"] == chosen["neighbours"][chosen["knn_of"]["scaling"]][NEIGHBOURS[0]]


def test_a_chosen_layer_is_read_as_any_encoder(domain: Domain, encoder: Encoder) -> None:
    """The linear probe of the chosen layer is the linear probe of an encoder that ends there."""
    found = Readings(ProbeConfig(), encoder, domain, 0).accuracies["chosen"]
    layer, grid = found["linear_of"]["layer"] - 1, found["linear_of"]["grid"]
    alone = LayerFeatures(encoder, layer, grid, widths(encoder, 8, grid)[layer]).eval()
    features, rows = encode(alone, domain.labelled_rows(*TRAINING).images), domain.labelled_rows(Side.TEST)
    from repflow.evaluation.linear_probe import fit_linear_probe

    nothing = np.empty((0, alone.width)), np.empty(0, np.int64)
    probe = fit_linear_probe(ProbeConfig().linear, features, domain.labelled_rows(*TRAINING).labels, *nothing)
    assert found["linear"] == np.mean(probe.predict(encode(alone, rows.images)) == rows.labels)


def test_test_images_choose_nothing(domain: Domain, encoder: Encoder) -> None:
    before = Readings(ProbeConfig(), encoder, domain, 0).accuracies["chosen"]
    shuffled = domain.store.manifest.copy()
    shuffled.loc[400:, "given_class"] = shuffled.loc[400:, "given_class"].to_numpy()[::-1]
    other = Domain("source", Store(domain.store.images, shuffled, domain.classes), domain.sides, domain.classes)
    after = Readings(ProbeConfig(), encoder, other, 0).accuracies["chosen"]
    assert (after["linear_of"], after["knn_of"]) == (before["linear_of"], before["knn_of"])
    assert after["linear"] < before["linear"]


def write(folder: Path, name: str, accuracy: float, knn: float | None = None, seeds: int = 3) -> None:
    easy = np.random.default_rng(0).random(2000)
    for seed in range(seeds):
        noise = 0.1 * np.random.default_rng((seed, len(name))).standard_normal(2000)
        right = {"chosen_linear": easy + noise < accuracy, "chosen_knn": easy + noise < (knn or accuracy)}
        write_right(folder / f"{name}-{seed}.safetensors", right)


def test_verdicts_compare_with_the_floor_of_the_same_encoder(tmp_path: Path) -> None:
    write(tmp_path, FLOOR, 0.5)
    write(tmp_path, "good", 0.6)
    write(tmp_path, "half", 0.6, knn=0.4)
    write(tmp_path, "own", 0.6)
    write(tmp_path, floor_of("own"), 0.6)
    names = [FLOOR, "good", "half", "own", floor_of("own"), "unread"]
    found = verdicts.verdicts(tmp_path, names, 2000)
    assert found["good"] == "yes"
    assert found["half"].startswith("linear only (kNN by -")
    assert found["own"].startswith("no (kNN by ")
    assert set(found) == {"good", "half", "own"}


def test_a_seed_that_only_one_of_both_has_is_not_compared(tmp_path: Path) -> None:
    write(tmp_path, FLOOR, 0.5, seeds=1)
    write(tmp_path, "good", 0.6, seeds=3)
    one = verdicts.right(tmp_path, "good", "chosen_knn", 2000)
    both = verdicts.common(one, verdicts.right(tmp_path, FLOOR, "chosen_knn", 2000))
    assert set(one) == {0, 1, 2}
    assert both is not None
    assert both[0].shape == (1, 2000)


def test_what_was_tried_is_kept(domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    trying: Any = importlib.import_module("zoo.try")
    monkeypatch.setattr(trying, "HERE", tmp_path)
    monkeypatch.setattr(trying, "open_domain", lambda *_: domain)
    for changes in ([], ["training.optimizer.learning_rate=0.01", "settings.temperature=0.5"]):
        trying.main(["digits", "simclr", *changes, "--images", "256", "--seed", "3"])
    with (tmp_path / "trials/digits.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["changes"] for line in lines] == ["", "training.optimizer.learning_rate=0.01 settings.temperature=0.5"]
    assert all(line["method"] == "simclr" and line["seed"] == "3" and line["images"] == "256" for line in lines)
    assert all(0 < float(line["linear"]) <= 1 for line in lines)
    assert lines[0]["chosen_linear"] != lines[1]["chosen_linear"], "the changes had no effect"
    assert "linear_few" in capsys.readouterr().out


def test_a_change_is_in_the_settings_that_are_tried() -> None:
    trying: Any = importlib.import_module("zoo.try")
    found = trying.changed("digits", "simclr", ["settings.temperature=0.7"], 256)["method"]
    assert found["settings"]["temperature"] == 0.7
    assert found["training"]["steps"] == 2
