"""The stage `probe`: its metrics, which labels it uses, and reproducibility."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from repflow.data.read.rows import Side, open_domain, sampled
from repflow.encoders.model_files import load_encoder
from repflow.errors import DataError
from repflow.evaluation.features import encode
from repflow.evaluation.probes import Probes
from repflow.stages import probe
from repflow.stages.reporting.sections.training import _gain_caption

pytestmark = pytest.mark.xdist_group("evaluation")  # one worker trains and evaluates for all tests here


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
    linear, neighbours = probes.linear[-1], probes.knn
    return [linear.coef_, np.array(linear.C), neighbours.features, neighbours.labels, probes.clusters.cluster_centers_]


def test_the_gain_is_the_difference_between_pretrained_and_random(reported: Path) -> None:
    results = scores(reported)
    assert results["rows"] == {"labelled": 60, "validation": 60, "training": 160, "test": 80}
    for name in ("linear", "knn", "acc", "nmi", "ari"):
        assert results["gain"][name] == pytest.approx(results["pretrained"][name] - results["random"][name], abs=2e-4)
    for name in ("linear", "knn"):
        assert results["gain"][f"{name}_low"] < results["gain"][name] < results["gain"][f"{name}_high"]
    assert results["gain"]["linear"] > 0.05, "the encoder was trained with labels, so it must beat random ones"


def test_labelled_rows_are_paired_with_their_own_features(
    trained_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trained_project / "data/splits/source.parquet"
    split = pd.read_parquet(path)
    split["side"] = np.random.default_rng(0).permutation(split["side"])
    split.to_parquet(path, index=False)
    fitted = keep_fitted(monkeypatch)
    probe.run()
    rows = open_domain("source", trained_project / "data/stores", trained_project / "data/splits").labelled_rows(
        Side.LABELLED
    )
    features = encode(load_encoder(trained_project / "models/pretrain"), rows.images)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert np.allclose(fitted[0].knn.features, unit, atol=1e-5)
    assert np.array_equal(fitted[0].knn.labels, rows.labels)


def test_test_labels_do_not_influence_the_probes_but_labels_for_training_and_validation_do(
    trained_project: Path, permute_labels: Callable[[Path, str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = keep_fitted(monkeypatch)
    probe.run()
    before, results = [parts(each) for each in fitted], scores(trained_project)
    fitted.clear()
    permute_labels(trained_project, "source", "test")
    probe.run()
    for old, new in zip(before, fitted, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, parts(new), strict=True))
    assert scores(trained_project)["pretrained"]["linear"] < results["pretrained"]["linear"]
    for side in ("labelled", "validation"):  # shows that this test can fail
        known = parts(fitted[0])
        fitted.clear()
        permute_labels(trained_project, "source", side)
        probe.run()
        assert any(not np.array_equal(a, b) for a, b in zip(known, parts(fitted[0]), strict=True)), side


def test_a_second_run_in_another_folder_gives_the_same_bytes_and_nothing_of_the_target_is_read(
    trained_project: Path, reported: Path, permute_labels: Callable[[Path, str, str], None]
) -> None:
    for side in ("labelled", "validation", "test"):
        permute_labels(trained_project, "target", side)
    images = trained_project / "data/stores/target/images.npy"
    np.save(images, np.load(images)[::-1])
    with contextlib.chdir(trained_project):
        probe.run()
    assert (trained_project / "metrics/probe.json").read_bytes() == (reported / "metrics/probe.json").read_bytes()


def test_random_encoders_differ_in_their_weights_alone(trained_project: Path) -> None:
    pretrained = load_encoder(trained_project / "models/pretrain")
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


@pytest.mark.parametrize("side", ["labelled", "test"])
def test_no_rows_are_a_clear_error(trained_project: Path, side: str) -> None:
    path = trained_project / "data/splits/source.parquet"
    split = pd.read_parquet(path)
    split.replace({"side": {side: "excluded"}}).to_parquet(path, index=False)
    with pytest.raises(DataError, match=f"no {side} rows"):
        probe.run()
    assert not (trained_project / "metrics/probe.json").exists()


def test_validation_rows_are_optional(trained_project: Path) -> None:
    path = trained_project / "data/splits/source.parquet"
    pd.read_parquet(path).replace({"side": {"validation": "excluded"}}).to_parquet(path, index=False)
    probe.run()
    assert scores(trained_project)["rows"]["validation"] == 0


def test_more_rows_than_fit_into_memory_are_sampled_and_metrics_log_and_report_say_so(
    trained_project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(probe, "_LEAST_SAMPLE", 50)
    monkeypatch.setattr(probe, "_FEATURES", 0)
    caplog.set_level("INFO", "repflow")
    fitted = keep_fitted(monkeypatch)
    probe.run()
    results = scores(trained_project)
    assert results["sampled"]["test"] == {"used": 50, "of": 80}
    assert results["sampled"]["labelled"] == {"used": 50, "of": 60}
    assert results["rows"]["test"] == 50
    assert results["sampled"]["training"] == {"used": 50, "of": 160}
    assert "probe: takes a sample of the test rows, 50 of 80" in caplog.text
    assert "50 of 80 test images" in _gain_caption({**results})
    domain = open_domain("source", trained_project / "data/stores", trained_project / "data/splits")
    rows = sampled(domain.labelled_rows(Side.LABELLED), 50)
    features = encode(load_encoder(trained_project / "models/pretrain"), rows.images)
    assert np.allclose(fitted[0].knn.features, features / np.linalg.norm(features, axis=1, keepdims=True), atol=1e-5)
    assert np.array_equal(fitted[0].knn.labels, rows.labels)


def test_no_more_images_are_clustered_than_asked_for(trained_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = yaml.safe_load(Path("params.yaml").read_text())
    parameters["probe"]["clustering"]["images"] = 40
    Path("params.yaml").write_text(yaml.safe_dump(parameters))
    fitted = keep_fitted(monkeypatch)
    probe.run()
    assert scores(trained_project)["sampled"] == {"training": {"used": 40, "of": 160}}
    assert len(fitted[0].clusters.labels_) == 40
    assert len(fitted[0].knn.labels) == 60
