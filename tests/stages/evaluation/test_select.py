"""The stage `select`: the choice on validation rows, its scores on test rows, and a model that anything loads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.data.read.rows import Rows, Side, open_domain
from repflow.encoders.model_files import load_classifier, read_any_description, save_model
from repflow.errors import DataError
from repflow.evaluation.features import probabilities
from repflow.evaluation.selection import Choice, at_temperature
from repflow.stages import probe, select

pytestmark = pytest.mark.xdist_group("evaluation")  # one worker trains and evaluates for all tests here

CANDIDATES = ["baseline", "knn", "linear", "linear_hog", "finetune", "source_only", "coral"]


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics/select.json").read_text())


def rows_of(folder: Path, side: Side, domain: str = "source") -> Rows:
    return open_domain(domain, folder / "data/stores", folder / "data/splits").labelled_rows(side)


def best_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "models/best").iterdir())}


def combined(folder: Path) -> dict[str, float]:
    """Writes an ensemble of three kinds of classifiers to models/best, and returns the weights of its members."""
    weights = {"finetune": 0.5, "knn": 0.25, "linear_hog": 0.25}
    temperatures = {"finetune": 2.0, "knn": 1.0, "linear_hog": 0.5}
    select.save_choice(folder / "models/best", select.candidates(), Choice(weights, temperatures, {}, {}, 0.0, 0.0))
    return weights


def test_every_classifier_without_target_labels_is_a_candidate(reported: Path) -> None:
    assert list(select.candidates()) == CANDIDATES
    results = metrics(reported)
    assert list(results["candidates"]) == CANDIDATES
    assert set(results["chosen"]) <= set(CANDIDATES)
    assert sum(results["chosen"].values()) == pytest.approx(1, abs=1e-3)
    assert results["rows"] == {"validation": 60, "source": 80, "target": 80}
    assert results["labels"]["choosing"] == 60


def test_the_chosen_model_is_not_below_any_candidate(reported: Path) -> None:
    results = metrics(reported)
    assert list(results["over"]["source"]) == CANDIDATES
    for name, over in results["over"]["source"].items():
        assert over["high"] >= 0, name
        difference = results["best"]["source"]["accuracy"] - results["candidates"][name]["source"]["accuracy"]
        assert over["value"] == pytest.approx(difference, abs=2e-4)
    assert (
        results["best"]["log_likelihood"]
        >= max(each["log_likelihood"] for each in results["candidates"].values()) - 0.2
    )


def test_scores_agree_with_those_of_evaluate(reported: Path) -> None:
    results, tested = metrics(reported), json.loads((reported / "metrics/evaluate.json").read_text())
    for name in ("baseline", "finetune", "coral"):
        for domain in ("source", "target"):
            own = results["candidates"][name][domain]
            assert own == {key: tested[name][domain][key] for key in ("accuracy", "low", "high")}


def test_the_saved_model_has_the_accuracy_that_the_metrics_name(reported: Path) -> None:
    results = metrics(reported)
    classifier, description = load_classifier(reported / "models/best")
    for domain in ("source", "target"):
        rows = rows_of(reported, Side.TEST, domain)
        right = probabilities(classifier, rows.images).argmax(axis=1) == rows.labels
        assert results["best"][domain]["accuracy"] == round(right.mean(), 4)
    validation = rows_of(reported, Side.VALIDATION)
    right = probabilities(classifier, validation.images).argmax(axis=1) == validation.labels
    assert results["best"]["validation"] == pytest.approx(right.mean(), abs=1e-4)
    assert description.classes == validation.classes


@pytest.mark.parametrize("sure", [False, True])
def test_a_broken_fine_tuning_is_not_chosen(reported: Path, sure: bool) -> None:
    classifier, description = load_classifier(reported / "models/finetune")
    torch.manual_seed(1)
    last = classifier.head[-1]
    torch.nn.init.normal_(last.weight, std=50.0 if sure else 0.01)
    save_model(reported / "models/finetune", classifier, description)
    for name in ("source_only", "coral"):  # what is left: the baseline and the probes
        shutil.rmtree(reported / "models/adapt" / name)
        save_model(reported / "models/adapt" / name, classifier, description)
    select.run()
    results = metrics(reported)
    assert results["candidates"]["finetune"]["source"]["accuracy"] < 0.4
    assert set(results["chosen"]) <= {"baseline", "knn", "linear", "linear_hog"}
    assert results["over"]["source"]["finetune"]["low"] > 0.2
    assert all(over["high"] >= 0 for over in results["over"]["source"].values())


def test_the_choice_does_not_depend_on_test_rows_or_target_labels(
    reported: Path, permute_labels: Callable[[Path, str, str], None]
) -> None:
    before, chosen = best_files(reported), metrics(reported)["chosen"]
    permute_labels(reported, "source", "test")
    permute_labels(reported, "target", "test")
    permute_labels(reported, "target", "validation")
    select.run()
    after = best_files(reported)
    assert metrics(reported)["chosen"] == chosen
    assert {name for name in before if before[name] != after[name]} == {"README.md"}  # the card shows the test scores


def test_the_same_bytes_in_another_folder(reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(reported, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere/models/best")
    monkeypatch.chdir(tmp_path / "elsewhere")
    select.run()
    assert best_files(tmp_path / "elsewhere") == best_files(reported)
    assert metrics(tmp_path / "elsewhere") == metrics(reported)


def test_an_ensemble_predicts_the_same_after_loading_by_predict_and_by_onnx(reported: Path) -> None:
    weights = combined(reported)
    rows = rows_of(reported, Side.TEST)
    images = rows.images[:12]
    expected = np.zeros((12, 10))
    folders, temperatures = select.candidates(), {"finetune": 2.0, "knn": 1.0, "linear_hog": 0.5}
    for name, weight in weights.items():
        own = probabilities(load_classifier(folders[name])[0], images)
        expected += weight * at_temperature(own, temperatures[name])
    assert probabilities(load_classifier(reported / "models/best")[0], images) == pytest.approx(expected, abs=1e-5)

    photos = reported / "photos"
    photos.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[0]).save(photos / f"{number:02d}.png")
    result = CliRunner().invoke(app, ["predict", "photos", "--format", "json", "--top", "10"])
    assert result.exit_code == 0, result.output
    shown = pd.DataFrame(json.loads(result.stdout)).pivot(index="path", columns="label", values="probability")
    assert shown[list(rows.classes)].to_numpy() == pytest.approx(expected, abs=1e-5)

    result = CliRunner().invoke(app, ["export", "best.onnx"])
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession("best.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": (images / 255).astype(np.float32)})
    assert found == pytest.approx(expected, abs=1e-4)


def test_one_chosen_model_keeps_its_weights_and_says_where_it_comes_from(reported: Path) -> None:
    choice = Choice({"linear": 1.0}, {"linear": 0.7}, {}, {}, 0.0, 0.0)
    select.save_choice(reported / "models/best", select.candidates(), choice)
    files = [reported / "models" / each / "weights.safetensors" for each in ("best", "probe/linear")]
    assert files[0].read_bytes() == files[1].read_bytes()
    description = read_any_description(reported / "models/best")
    assert description.temperature == 0.7
    assert description.provenance["chosen"]["model"] == "linear"
    assert description.provenance["chosen"]["from"] == CANDIDATES


def test_the_probes_are_classifiers_with_the_accuracy_of_the_probe(reported: Path) -> None:
    probed = json.loads((reported / "metrics/probe.json").read_text())["pretrained"]
    rows = rows_of(reported, Side.TEST)
    for name in ("linear", "knn"):
        classifier, description = load_classifier(reported / "models/probe" / name)
        right = probabilities(classifier, rows.images).argmax(axis=1) == rows.labels
        assert right.mean() == pytest.approx(probed[name], abs=1e-4)
        assert description.provenance["encoder"]["method"] == "pretext.made_up"
    beside, _ = load_classifier(reported / "models/probe/linear_hog")
    assert beside.encoder.width > load_classifier(reported / "models/probe/linear")[0].encoder.width


def test_without_oriented_gradients_there_is_no_probe_beside_them(reported: Path) -> None:
    path = reported / "params.yaml"
    path.write_text(path.read_text().replace("knn:\n    neighbours", "hog: null\n  knn:\n    neighbours"))
    assert "hog: null" in path.read_text()
    probe.run()
    assert sorted(each.name for each in (reported / "models/probe").iterdir()) == ["knn", "linear"]
    select.run()
    assert "linear_hog" not in metrics(reported)["candidates"]


def test_labels_beyond_the_budget_count_where_an_adapted_model_was_chosen(reported: Path) -> None:
    source = open_domain("source", reported / "data/stores", reported / "data/splits")
    validation = rows_of(reported, Side.VALIDATION)
    counts = {
        name: select.labels_used(source, Choice({name: 1.0}, {}, {}, {}, 0.0, 0.0), validation)["training"]
        for name in ("finetune", "coral")
    }
    assert counts == {"finetune": 60, "coral": 160}


def test_one_domain_alone(one_domain: Path) -> None:
    results = metrics(one_domain)
    assert list(results["candidates"]) == CANDIDATES[:5]
    assert set(results["best"]) == {"validation", "log_likelihood", "source"}
    assert set(results["over"]) == {"source"}
    card = (one_domain / "models/best/README.md").read_text()
    assert "target" not in card.split("## Limits")[0].split("## Figures")[1]


def test_a_model_of_other_classes_is_a_clear_error(reported: Path) -> None:
    path = reported / "models/probe/linear/model.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"classes": about["classes"][::-1]}))
    with pytest.raises(DataError, match=r"linear.*other classes"):
        select.run()


def test_no_validation_rows_are_a_clear_error(reported: Path) -> None:
    path = reported / "data/splits/source.parquet"
    pd.read_parquet(path).replace({"side": {"validation": "excluded"}}).to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"no validation rows.*split\.validation"):
        select.run()


def test_metrics_read_well_in_dvc(reported: Path) -> None:
    def leaves(values: Any) -> list[Any]:
        return [leaf for each in values.values() for leaf in (leaves(each) if isinstance(each, dict) else [each])]

    values = leaves(metrics(reported))
    assert all(isinstance(value, int | float) and round(value, 4) == value for value in values)
