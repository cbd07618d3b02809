"""The stage `evaluate`: its metrics, recomputed from the test rows."""

import contextlib
import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from repflow.data.read.rows import Side, open_domain, sampled
from repflow.encoders.model_files import load_classifier, save_model
from repflow.errors import DataError
from repflow.evaluation.classification import EvaluateConfig
from repflow.evaluation.features import probabilities
from repflow.stages import evaluate

pytestmark = pytest.mark.xdist_group("evaluation")  # one worker trains and evaluates for all tests here

MODELS = ["baseline", "finetune", "source_only", "coral", "train_on_target"]


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics/evaluate.json").read_text())


def written(folder: Path) -> dict[str, bytes]:
    paths = [folder / "metrics/evaluate.json", *sorted((folder / "plots").rglob("*.csv"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def leaves(values: Any) -> Iterator[Any]:
    for value in values.values():
        yield from leaves(value) if isinstance(value, dict) else [value]


def test_every_model_is_tested_on_every_domain(reported: Path) -> None:
    results = metrics(reported)
    assert list(results) == ["rows", "groups", *MODELS]
    assert results["rows"] == {"source": 80, "target": 80}
    for name in MODELS:
        folder = name if name in ("baseline", "finetune") else f"adapt/{name}"
        classifier, _ = load_classifier(reported / "models" / folder)
        for domain in ("source", "target"):
            rows = open_domain(domain, reported / "data/stores", reported / "data/splits").labelled_rows(Side.TEST)
            right = probabilities(classifier, rows.images).argmax(axis=1) == rows.labels
            own = results[name][domain]
            assert own["accuracy"] == round(right.mean(), 4)
            assert own["low"] <= own["accuracy"] <= own["high"]
            pairs = pd.read_csv(reported / "plots/confusion" / f"{name}.{domain}.csv", dtype=str)
            assert list(pairs.columns) == ["actual", "predicted", "group"]
            assert list(pairs["actual"]) == [rows.classes[label] for label in rows.labels]
            assert np.array_equal(pairs["actual"] == pairs["predicted"], right)


def test_adapted_models_are_compared_with_both_baselines(reported: Path) -> None:
    results = metrics(reported)
    accuracy = {name: results[name]["target"]["accuracy"] for name in MODELS}
    assert accuracy["source_only"] < accuracy["coral"] < accuracy["train_on_target"]
    gain, share = results["coral"]["gain"], results["coral"]["gap_closed"]
    assert gain["value"] == pytest.approx(accuracy["coral"] - accuracy["source_only"], abs=2e-4)
    assert gain["beyond"] is (gain["low"] > 0) is True
    gap = accuracy["train_on_target"] - accuracy["source_only"]
    assert share["value"] == pytest.approx(gain["value"] / gap, abs=1e-3)
    assert 0 < share["low"] < share["value"] < share["high"] < 1
    for name in ("finetune", "source_only"):
        assert set(results[name]) == {"source", "target", "over_baseline"}
    assert "gap_closed" not in results["train_on_target"]


def test_every_model_is_compared_with_the_baseline_and_the_log_says_how(
    trained_project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    evaluate.run()
    results = metrics(trained_project)
    assert "over_baseline" not in results["baseline"]
    for name in MODELS[1:]:
        domain = "source" if name == "finetune" else "target"
        over = results[name]["over_baseline"]
        accuracies = [results[each][domain]["accuracy"] for each in (name, "baseline")]
        assert over["value"] == pytest.approx(accuracies[0] - accuracies[1], abs=2e-4)
        assert over["beyond"] is (over["low"] > 0)
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("evaluate: ")]
    assert [line.split(": ")[1] for line in said] == ["Fine-tuned", "Source only", "CORAL", "Train on target"]
    assert all("it" in line and "baseline" in line for line in said)


def test_recall_and_calibration_count_every_row(reported: Path) -> None:
    recall, calibration = (pd.read_csv(reported / f"plots/{name}.csv") for name in ("recall", "calibration"))
    results = metrics(reported)
    for name in MODELS:
        own = recall[(recall["model"] == name) & (recall["domain"] == "target")]
        assert own["rows"].sum() == 80
        assert (own["rows"] * own["recall"]).sum() / 80 == pytest.approx(results[name]["target"]["accuracy"], abs=1e-3)
        assert own["recall"].min() == results[name]["target"]["worst_recall"]
        bins = calibration[(calibration["model"] == name) & (calibration["domain"] == "target")]
        assert bins["rows"].sum() == 80
        error = (bins["rows"] * (bins["confidence"] - bins["accuracy"]).abs()).sum() / 80
        assert error == pytest.approx(results[name]["target"]["ece"], abs=2e-4)


def test_metrics_read_well_in_dvc(reported: Path) -> None:
    """Only numbers and booleans, rounded to four decimals, without values of single images or classes."""
    values = list(leaves(metrics(reported)))
    assert all(isinstance(value, int | float | bool) and round(value, 4) == value for value in values)
    assert len(values) <= 20 * len(MODELS)


def test_the_same_bytes_in_another_folder(trained_project: Path, reported: Path) -> None:
    shutil.rmtree(reported / "data")  # nothing is taken from there
    with contextlib.chdir(trained_project):
        evaluate.run()
    assert written(trained_project) == written(reported)
    assert len(written(trained_project)) == 3 + 2 * len(MODELS)


def test_one_domain_alone(one_domain: Path) -> None:
    results = metrics(one_domain)
    assert set(results) == {"rows", "groups", "baseline", "finetune"}
    assert results["rows"] == {"source": 80}
    assert set(results["finetune"]) == {"source", "over_baseline"}
    written_files = sorted(path.name for path in (one_domain / "plots/confusion").iterdir())
    assert written_files == ["baseline.source.csv", "finetune.source.csv"]


def test_a_target_without_labels_cannot_be_tested(trained_project: Path) -> None:
    path = trained_project / "data/stores/target/manifest.parquet"
    manifest = pd.read_parquet(path)
    manifest["given_class"], manifest["label"] = None, -1
    manifest.to_parquet(path, index=False)
    evaluate.run()
    results = metrics(trained_project)
    assert results["rows"] == {"source": 80}
    assert set(results["finetune"]) == {"source", "over_baseline"}
    assert all(set(results[name]) == {"source"} for name in MODELS if name != "finetune")


def test_without_a_baseline_there_is_no_comparison(trained_project: Path) -> None:
    labels = np.arange(60) % 3
    alone = np.arange(60)
    sure = {"target": {"one": np.eye(3)[labels], "other": np.eye(3)[np.zeros(60, int)]}}
    results = evaluate.score_models(sure, {"target": labels}, {"target": alone}, EvaluateConfig(), seed=0)
    assert set(results["one"]) == set(results["other"]) == {"target"}
    only_floor = evaluate.score_models(
        sure, {"target": labels}, {"target": alone}, EvaluateConfig(), seed=0, floor="other", ceiling="absent"
    )
    assert only_floor["one"]["gain"]["beyond"] is True
    assert "gap_closed" not in only_floor["one"]


def test_a_gain_that_may_be_chance_is_not_significant() -> None:
    labels = np.zeros(60, int)
    alone = np.arange(60)
    halves = {"floor": np.eye(2)[np.arange(60) % 2], "model": np.eye(2)[(np.arange(60) + 1) % 2]}
    results = evaluate.score_models(
        {"target": halves}, {"target": labels}, {"target": alone}, EvaluateConfig(), seed=0, floor="floor"
    )
    assert results["model"]["gain"]["low"] < 0 < results["model"]["gain"]["high"]
    assert results["model"]["gain"]["beyond"] is False


def test_class_names_survive_the_table(trained_project: Path) -> None:
    names = ('a, "b"', "nan", " spaced ", "日本", *map(str, range(6)))
    for domain in ("source", "target"):
        path = trained_project / "data/stores" / domain / "manifest.parquet"
        manifest = pd.read_parquet(path)
        manifest["given_class"] = manifest["label"].map(dict(enumerate(names)))
        manifest.to_parquet(path, index=False)
    (trained_project / "data/splits/classes.json").write_text(json.dumps(names))
    for name in MODELS:
        folder = trained_project / "models" / (name if name in ("baseline", "finetune") else f"adapt/{name}")
        about = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(about | {"classes": names}))
    evaluate.run()
    with (trained_project / "plots/confusion/finetune.source.csv").open(encoding="utf-8", newline="") as file:
        assert set(names) == {line["actual"] for line in csv.DictReader(file)}


def test_a_model_of_other_classes_is_a_clear_error(trained_project: Path) -> None:
    folder = trained_project / "models/adapt/coral"
    about = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(about | {"classes": about["classes"][::-1]}))
    with pytest.raises(DataError, match=r"coral.*other classes"):
        evaluate.run()
    assert not (trained_project / "metrics/evaluate.json").exists()


def test_a_model_that_is_an_encoder_is_a_clear_error(trained_project: Path) -> None:
    classifier, description = load_classifier(trained_project / "models/finetune")
    plain = type(description)(description.encoder, description.preprocessing)
    save_model(trained_project / "models/finetune", classifier.encoder, plain)
    with pytest.raises(DataError, match="without a head"):
        evaluate.run()


def test_no_test_rows_are_a_clear_error(trained_project: Path) -> None:
    path = trained_project / "data/splits/source.parquet"
    pd.read_parquet(path).replace({"side": {"test": "excluded"}}).to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"no test rows.*split\.test"):
        evaluate.run()


def test_more_test_rows_than_fit_into_memory_are_sampled_and_the_metrics_say_so(
    trained_project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evaluate, "_LEAST_SAMPLE", 30)
    monkeypatch.setattr(evaluate, "_PREDICTIONS", 0)
    caplog.set_level("INFO", "repflow")
    evaluate.run()
    results = metrics(trained_project)
    assert results["rows"] == {"source": 30, "target": 30}
    assert results["sampled"]["source"] == {"used": 30, "of": 80}
    assert "evaluate: takes a sample of the source rows, 30 of 80" in caplog.text
    classifier, _ = load_classifier(trained_project / "models/finetune")
    domain = open_domain("source", trained_project / "data/stores", trained_project / "data/splits")
    rows = sampled(domain.labelled_rows(Side.TEST), 30)
    right = probabilities(classifier, rows.images).argmax(axis=1) == rows.labels
    assert results["finetune"]["source"]["accuracy"] == round(right.mean(), 4)
