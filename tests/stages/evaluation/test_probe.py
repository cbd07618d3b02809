"""probe: what it reports, what it never sees, and that it can be made again."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from repflow.data.read.rows import Side, open_domain
from repflow.encoders.model_files import load_encoder
from repflow.errors import DataError
from repflow.evaluation.features import encode
from repflow.evaluation.probes import Probes
from repflow.stages import probe


def scores(folder: Path) -> dict:
    return json.loads((folder / "metrics/probe.json").read_text())


def keep_fitted(monkeypatch: pytest.MonkeyPatch) -> list[Probes]:
    fitted: list[Probes] = []
    fit = probe.fit_probes

    def fit_and_keep(*arguments, **named):
        fitted.append(fit(*arguments, **named))
        return fitted[-1]

    monkeypatch.setattr(probe, "fit_probes", fit_and_keep)
    return fitted


def parts(probes: Probes) -> list[np.ndarray]:
    linear, neighbours = probes.linear[-1], probes.knn[-1]
    return [linear.coef_, np.array(linear.C), neighbours._fit_X, neighbours._y, probes.clusters.cluster_centers_]


def test_the_gain_is_what_lies_between_pretrained_and_random(judged: Path) -> None:
    probe.run()
    said = scores(judged)
    assert said["rows"] == {"labelled": 60, "validation": 60, "training": 160, "test": 80}
    for name in ("linear", "knn", "acc", "nmi", "ari"):
        assert said["gain"][name] == pytest.approx(said["pretrained"][name] - said["random"][name], abs=2e-4)
    for name in ("linear", "knn"):
        assert said["gain"][f"{name}_low"] < said["gain"][name] < said["gain"][f"{name}_high"]
    assert said["gain"]["linear"] > 0.05, "the encoder was trained with labels, so it must beat random ones"


def test_the_labelled_rows_train_with_their_own_features(judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = judged / "data/splits/source.parquet"
    split = pd.read_parquet(path)
    split["side"] = np.random.default_rng(0).permutation(split["side"])
    split.to_parquet(path, index=False)
    fitted = keep_fitted(monkeypatch)
    probe.run()
    rows = open_domain("source", judged / "data/stores", judged / "data/splits").labelled_rows(Side.LABELLED)
    features = encode(load_encoder(judged / "models/pretrain"), rows.images)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert np.allclose(fitted[0].knn[-1]._fit_X, unit, atol=1e-5)
    assert np.array_equal(fitted[0].knn[-1]._y, rows.labels)


def test_labels_that_only_judge_never_reach_the_probes(
    judged: Path, permute_labels: Callable[[Path, str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = keep_fitted(monkeypatch)
    probe.run()
    before, said = [parts(each) for each in fitted], scores(judged)
    fitted.clear()
    permute_labels(judged, "source", "test")
    probe.run()
    for old, new in zip(before, fitted, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, parts(new), strict=True))
    assert scores(judged)["pretrained"]["linear"] < said["pretrained"]["linear"]


def test_nothing_of_the_target_is_read(judged: Path, permute_labels: Callable[[Path, str, str], None]) -> None:
    probe.run()
    before = (judged / "metrics/probe.json").read_bytes()
    for side in ("labelled", "validation", "test"):
        permute_labels(judged, "target", side)
    images = judged / "data/stores/target/images.npy"
    np.save(images, np.load(images)[::-1])
    probe.run()
    assert (judged / "metrics/probe.json").read_bytes() == before


@pytest.mark.parametrize("side", ["labelled", "validation"])
def test_labels_that_train_or_choose_matter(
    judged: Path, permute_labels: Callable[[Path, str, str], None], monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """So that the tests above can fail."""
    fitted = keep_fitted(monkeypatch)
    probe.run()
    permute_labels(judged, "source", side)
    probe.run()
    half = len(fitted) // 2
    changed = [not np.array_equal(a, b) for a, b in zip(parts(fitted[0]), parts(fitted[half]), strict=True)]
    assert any(changed)


def test_random_encoders_differ_in_their_weights_alone(judged: Path) -> None:
    pretrained = load_encoder(judged / "models/pretrain")
    pretrained.set_normalisation(torch.tensor([0.3]), torch.tensor([0.2]))
    encoders = probe.random_encoders(pretrained, 2, seed=0)
    again = probe.random_encoders(pretrained, 2, seed=0)
    for encoder, same in zip(encoders, again, strict=True):
        assert torch.equal(encoder.mean, pretrained.mean)
        assert torch.equal(encoder.std, pretrained.std)
        assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), same.parameters(), strict=True))
    first, second, third = (next(each.parameters()) for each in (pretrained, *encoders))
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_the_same_bytes_again(judged: Path) -> None:
    probe.run()
    before = (judged / "metrics/probe.json").read_bytes()
    probe.run()
    assert (judged / "metrics/probe.json").read_bytes() == before


@pytest.mark.parametrize("side", ["labelled", "test"])
def test_no_rows_are_a_clear_error(judged: Path, side: str) -> None:
    path = judged / "data/splits/source.parquet"
    split = pd.read_parquet(path)
    split.replace({"side": {side: "excluded"}}).to_parquet(path, index=False)
    with pytest.raises(DataError, match=f"no {side} rows"):
        probe.run()
    assert not (judged / "metrics/probe.json").exists()


def test_no_validation_rows_are_borne(judged: Path) -> None:
    path = judged / "data/splits/source.parquet"
    pd.read_parquet(path).replace({"side": {"validation": "excluded"}}).to_parquet(path, index=False)
    probe.run()
    assert scores(judged)["rows"]["validation"] == 0
