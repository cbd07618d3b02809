"""Weights that others trained in the graph: not pretrained, probed, fine-tuned, adapted and pretrained further."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file, save_file

from repflow.encoders.model_files import load_classifier, load_encoder
from repflow.errors import DataError
from repflow.stages import adapt, finetune, pretrain, probe

FILE = "weights/test_resnet.safetensors"


def training(steps: int) -> dict[str, Any]:
    return {"steps": steps, "batch_size": 8, "optimizer": {"learning_rate": 0.01}}


def change(project: Path, **sections: Any) -> None:
    path = project / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sections, sort_keys=False))


def metrics(project: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / f"metrics/{name}.json").read_text())
    return found


def provenance(project: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / f"models/{name}/model.json").read_text())["provenance"]
    return found


@pytest.fixture
def given(project: Path) -> Path:
    """The project with a file of weights, an encoder that starts from it, and short trainings."""
    torch.manual_seed(0)
    (project / "weights").mkdir()
    weights = timm.create_model("test_resnet").state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, project / FILE)
    encoder = {"name": "timm", "model": "test_resnet", "weights": FILE, "license": "MIT", "size": 16}
    method = {"family": "pretext", "name": "simclr", "settings": {"augment": []}}
    adaptation = {"family": "adaptation", "name": "dann", "settings": {"augment": []}, "training": training(1)}
    change(
        project,
        encoder=encoder,
        pretrain={**method, "training": training(0)},
        probe={"random_encoders": 1, "clustering": {"restarts": 1}, "knn": {"neighbours": 5}},
        finetune={"family": "semisup", "name": "supervised", "settings": {"augment": []}, "training": training(2)},
        adapt={"further": adaptation, "anew": {**adaptation, "start": "random"}},
    )
    (project / "models/tune").mkdir(parents=True)
    (project / "models/tune/best.yaml").write_text("{}\n")
    return project


def test_the_weights_go_through_the_graph_untouched_or_trained_further(given: Path) -> None:
    digest = hashlib.sha256((given / FILE).read_bytes()).hexdigest()
    origin = {"library": "timm", "model": "test_resnet", "source": "file", "license": "MIT", "sha256": digest}
    pretrain.run()
    weights = load_file(given / FILE)
    own = load_encoder(given / "models/pretrain").model.state_dict()  # type: ignore[operator, union-attr]
    assert own.keys() == {name for name in weights if not name.startswith("fc.")}
    assert all(torch.equal(value, weights[name]) for name, value in own.items()), "no step, no change"
    assert metrics(given, "pretrain")["steps"] == 0
    assert metrics(given, "pretrain")["weights_sha256"] == digest
    assert provenance(given, "pretrain")["weights"] == origin

    adapt.run("anew")
    assert provenance(given, "adapt/anew")["weights"] == origin, "start: random starts from the given weights, too"
    assert metrics(given, "adapt/anew")["weights_sha256"] == digest

    (given / FILE).unlink()  # a model needs neither the file nor a hub from here on
    probe.run()
    assert 0 < metrics(given, "probe")["pretrained"]["linear"] <= 1
    finetune.run()
    adapt.run("further")
    for name in ("finetune", "adapt/further"):
        assert provenance(given, name)["weights"] == origin
        assert metrics(given, name)["weights_sha256"] == digest
        classifier, description = load_classifier(given / "models" / name)
        assert classifier(torch.rand(2, 1, 8, 8)).shape == (2, 10)
        assert description.encoder.model == "test_resnet"
        trained = classifier.encoder.model.state_dict()  # type: ignore[operator, union-attr]
        assert not torch.equal(trained["conv1.0.weight"], weights["conv1.0.weight"])


@pytest.mark.parametrize("name", ["simclr", "bag_of_visual_words", "deepcluster"])
def test_methods_pretrain_the_weights_further(given: Path, name: str) -> None:
    settings = {
        "simclr": {"augment": []},
        "bag_of_visual_words": {"augment": [], "perturb": [], "words": 4, "bootstrap": 0.5},
        "deepcluster": {"augment": [], "clusters": 8, "components": 4, "every": 1},
    }
    family = "clustering" if name == "deepcluster" else "pretext"
    change(given, pretrain={"family": family, "name": name, "settings": settings[name], "training": training(2)})
    pretrain.run()
    weights = load_file(given / FILE)
    own = load_encoder(given / "models/pretrain").model.state_dict()  # type: ignore[operator, union-attr]
    assert any(not torch.equal(value, weights[key]) for key, value in own.items())


def test_frozen_weights_stay_as_they_are(given: Path) -> None:
    """`encoder_factor: 0` trains the head alone."""
    pretrain.run()
    frozen = training(3)
    frozen["optimizer"]["encoder_factor"] = 0.0
    section = {"family": "semisup", "name": "supervised", "settings": {"augment": []}, "training": frozen}
    change(given, finetune=section)
    finetune.run()
    before = dict(load_encoder(given / "models/pretrain").named_parameters())
    for name, value in load_encoder(given / "models/finetune").named_parameters():
        assert torch.equal(value, before[name]), name


def test_a_missing_file_is_one_message(given: Path) -> None:
    (given / FILE).unlink()
    with pytest.raises(
        DataError, match=r"encoder\.weights: weights/test_resnet\.safetensors: cannot be read \(No such"
    ):
        pretrain.run()
