"""A small project with the outputs of the stages up to `pretrain`: digits, 8x8 grey, and an untrained encoder."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from repflow.data.store import COLUMNS, write_store
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.model_files import Description, save_model

PER_DOMAIN = 300
SIDES = ["labelled"] * 60 + ["unlabelled"] * 100 + ["validation"] * 60 + ["test"] * 80

PARAMETERS: dict[str, Any] = {
    "seed": 0,
    "data": {"size": 8, "channels": 1, "resize": "stretch"},
    "encoder": {"name": "small", "widths": [8, 16]},
    "hardware": {"accelerator": "cpu", "precision": "32-true", "threads": 1},
    "runtime": {"memory": 1.0, "checkpoints": {}},
    "finetune": {
        "family": "semisup",
        "name": "supervised",
        "settings": {"augment": []},
        "training": {"steps": 40, "batch_size": 16, "optimizer": {"learning_rate": 0.01}, "log_every": 10},
    },
}


@pytest.fixture(scope="session")
def _project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("made") / "project"
    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)[:, None]
    classes = tuple(str(number) for number in range(10))
    for name, first in (("source", 0), ("target", PER_DOMAIN)):
        shown = slice(first, first + PER_DOMAIN)
        manifest = _manifest(digits.target[shown])
        write_store(folder / "data/stores" / name, images[shown], manifest, classes, {"kind": "digits"})
        split = pd.DataFrame({"index": np.arange(PER_DOMAIN), "side": SIDES})
        (folder / "data/splits").mkdir(exist_ok=True)
        split.to_parquet(folder / "data/splits" / f"{name}.parquet", index=False)
    (folder / "data/splits/classes.json").write_text(json.dumps(classes))
    torch.manual_seed(0)
    description = Description(SmallConfig(widths=(8, 16)), {"size": 8, "channels": 1, "resize": "stretch"})
    save_model(folder / "models/pretrain", description.new_encoder(), description)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMETERS, sort_keys=False))
    return folder


@pytest.fixture
def project(_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project for one test; the copy is the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(_project, folder)
    monkeypatch.chdir(folder)
    return folder


def _manifest(labels: np.ndarray) -> pd.DataFrame:
    count = len(labels)
    empty = {"string": [None] * count, "float64": [0.0] * count}
    columns = {name: empty.get(kind, [0] * count) for name, kind in COLUMNS.items()}
    columns["path"] = [f"digits/{number:04d}" for number in range(count)]
    columns["index"], columns["label"] = list(range(count)), labels.tolist()
    columns["given_class"] = [str(label) for label in labels]
    return pd.DataFrame(columns)
