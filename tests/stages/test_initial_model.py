"""The model that a training starts from, and how long it is trained by the budget."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from repflow.data.read.rows import Rows, Side
from repflow.encoders.model_files import load_classifier, load_encoder
from repflow.errors import ParameterError
from repflow.evaluation.features import encode, probabilities
from repflow.stages import adapt, finetune
from repflow.stages.initial_model import describe, probed, starting_classifier
from repflow.stages.learning import read_recipe, within_budget
from repflow.stages.project import open_project_domain


def change(changes: dict[str, Any]) -> None:
    path = Path("params.yaml")
    values = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    path.write_text(yaml.safe_dump(values))


@pytest.fixture(autouse=True)
def nothing_found_by_a_search(project: Path) -> None:
    (project / "models/tune").mkdir()
    (project / "models/tune/best.yaml").write_text("{}\n")


def labelled() -> Rows:
    return open_project_domain("source").labelled_rows(Side.LABELLED)


def test_a_probed_start_predicts_as_a_strongly_regularised_logistic_regression() -> None:
    encoder, rows = load_encoder(Path("models/pretrain")), labelled()
    found = probabilities(probed(encoder, rows), rows.images)
    scaler = StandardScaler()
    features = scaler.fit_transform(encode(encoder, rows.images))
    expected = LogisticRegression(C=0.001, max_iter=500).fit(features, rows.labels).predict_proba(features)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.max() < 0.5, "sure predictions would be taken for labels from the first step on"


def test_fine_tuning_starts_from_the_probe() -> None:
    change({"finetune.start": "probed", "finetune.training.steps": 0})
    finetune.run()
    trained, description = load_classifier(Path("models/finetune"))
    rows = labelled()
    start = probed(load_encoder(Path("models/pretrain")), rows)
    images = torch.from_numpy(rows.images).float() / 255
    with torch.no_grad():
        assert torch.equal(trained(images), start.eval()(images))
    assert json.loads(Path("models/finetune/model.json").read_text())["provenance"]["start"] == "probed"
    assert description.classes == rows.classes


def test_a_probe_is_no_head_with_hidden_layers() -> None:
    change({"finetune.start": "probed", "finetune.head": {"hidden": [8]}})
    with pytest.raises(ParameterError, match="without hidden layers"):
        finetune.run()


def test_an_adaptation_has_no_probe_to_start_from() -> None:
    section = copy.deepcopy(yaml.safe_load(Path("params.yaml").read_text())["finetune"])
    section |= {"family": "adaptation", "name": "source_only", "start": "probed"}
    change({"adapt.source_only": section})
    with pytest.raises(ParameterError, match="probed is for fine-tuning"):
        adapt.run("source_only")


def test_the_encoder_is_that_of_the_pretraining() -> None:
    recipe, source = read_recipe("finetune"), open_project_domain("source")
    description = describe(recipe, source, source.classes)
    classifier, _ = starting_classifier(recipe, description, source.store.images)
    pretrained = load_encoder(Path("models/pretrain"))
    for ours, theirs in zip(classifier.encoder.parameters(), pretrained.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_steps_that_are_left_to_the_budget_follow_from_the_labelled_images() -> None:
    budget = {"passes": 40.0, "least": 100, "most": 10_000_000}
    change({"budget.finetune": budget, "finetune.training.steps": None})
    rows, _ = finetune.finetuning_rows(open_project_domain("source"), read_recipe("finetune"))
    recipe = within_budget(read_recipe("finetune"), "finetune", rows)
    assert recipe.section.training.steps == 40 * 60 / 16
    finetune.run()
    metrics = json.loads(Path("metrics/finetune.json").read_text())
    assert metrics["steps"] == recipe.section.training.steps
    about = json.loads(Path("models/finetune/model.json").read_text())["provenance"]
    assert about["training"]["steps"] == recipe.section.training.steps, "what is recorded is what was trained"


def test_steps_that_are_given_need_no_budget() -> None:
    recipe = read_recipe("finetune")
    rows, _ = finetune.finetuning_rows(open_project_domain("source"), recipe)
    assert within_budget(recipe, "finetune", rows) is recipe


@pytest.mark.parametrize("known", [True, False])
def test_only_labels_of_labelled_rows_are_shown_among_the_unlabelled(known: bool, monkeypatch: Any) -> None:
    source, recipe = open_project_domain("source"), read_recipe("finetune")
    monkeypatch.setattr(recipe.method, "reads_known_labels", known)
    rows, _ = finetune.finetuning_rows(source, recipe)
    shown = dict(zip(rows["labelled"].index, rows["labelled"].labels, strict=True)) if known else {}
    assert len(rows["unlabelled"]) > len(rows["labelled"]) > 0
    assert rows["unlabelled"].labels.tolist() == [shown.get(index, -1) for index in rows["unlabelled"].index]
