"""The command `repflow export`: a self-contained ONNX file with the same predictions as the model."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.encoders import HeadConfig
from repflow.encoders.convolutional import LeNetConfig, SmallConfig
from repflow.encoders.model_files import Description, load_classifier, save_model
from repflow.encoders.residual import ResNetConfig
from repflow.evaluation.features import probabilities
from repflow.stages import export

CLASSES = ("cat", "dog", "人")
ENCODERS = {"small": SmallConfig(), "lenet": LeNetConfig(), "resnet18": ResNetConfig(name="resnet18")}


@pytest.fixture(params=ENCODERS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A classifier with random weights."""
    preprocessing = {"size": 32, "channels": 3, "resize": "pad"}
    head = HeadConfig(hidden=(8,), dropout=0.5)
    description = Description(ENCODERS[request.param], preprocessing, head, CLASSES)
    torch.manual_seed(0)
    save_model(tmp_path / "model", description.new_classifier(description.new_encoder()), description)
    return tmp_path / "model"


def test_the_file_predicts_what_the_model_predicts(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "classifier.onnx"
    result = CliRunner().invoke(app, ["export", str(output), "--model", str(model)])
    assert result.exit_code == 0, result.output
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), np.uint8)
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": (images / 255).astype(np.float32)})
    assert found == pytest.approx(probabilities(load_classifier(model)[0], images), abs=1e-5)
    facts = {entry.key: json.loads(entry.value) for entry in onnx.load(str(output)).metadata_props}
    assert facts["classes"] == list(CLASSES)
    assert facts["preprocessing"] == {"size": 32, "channels": 3, "resize": "pad"}
    assert [path.name for path in output.parent.iterdir() if path.is_file()] == ["classifier.onnx"]


@pytest.mark.parametrize("model", ["small"], indirect=True)
def test_a_file_with_other_predictions_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    result = CliRunner().invoke(app, ["export", str(tmp_path / "classifier.onnx"), "--model", str(model)])
    assert result.exit_code == 3
    assert "ONNX Runtime differ from PyTorch" in result.output
    assert not (tmp_path / "classifier.onnx").exists()
