"""A small project with the outputs of all stages before `probe`, trained on digits; the target is inverted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import yaml

from repflow.data.read.batches import as_float
from repflow.data.read.rows import Rows, Side, open_domain
from repflow.encoders import Classifier, HeadConfig
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.model_files import Description, save_model
from repflow.stages import baseline, evaluate, probe, report, select
from repflow.training.curves import write_curve

ADAPTATIONS = {"source_only": "Source only", "coral": "CORAL", "train_on_target": "Train on target"}
FLOPS = {
    "pretrain": 4 * 10**12,
    "finetune": 10**12,
    "adapt/source_only": 10**12,
    "adapt/coral": 250 * 10**12,
    "adapt/train_on_target": 10**12,
}
PREPROCESSING = {"size": 8, "channels": 1, "resize": "stretch"}

SECTIONS: dict[str, Any] = {
    "split": {"labels_per_class": 6},
    "augment": {
        "none": [],
        "weak": [{"op": "affine", "degrees": 10.0}],
        "strong": [{"op": "affine", "degrees": 20.0, "scale": [0.8, 1.2]}, {"op": "cutout", "size": [0.2, 0.4]}],
    },
    "baseline": {"linear": {"regularisation": [0.1, 1.0], "iterations": 100}},
    "probe": {"random_encoders": 2, "clustering": {"restarts": 1}, "knn": {"neighbours": 5}},
    "select": {},
    "evaluate": {"resamples": 200, "confidence": 0.95, "bins": 15},
    "adapt": {
        # CORAL is not a method of this version, but a model of it must not be unknown to the stages.
        name: {"family": "adaptation", "name": "dann" if name == "coral" else name}
        for name in ADAPTATIONS
    },
    "report": {"map": {"points": 60, "thumbnails": 6, "method": "tsne"}, "samples": {"views": 2}},
}


@pytest.fixture(scope="session")
def _trained_project(_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained_project") / "project"
    shutil.copytree(_project, folder)
    parameters = yaml.safe_load((folder / "params.yaml").read_text()) | SECTIONS
    parameters["data"] |= {"source": {"kind": "digits"}, "target": {"kind": "digits"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    images = folder / "data/stores/target/images.npy"
    np.save(images, 255 - np.load(images))
    source, target = (
        open_domain(name, folder / "data/stores", folder / "data/splits") for name in ("source", "target")
    )
    both = [domain.labelled_rows(Side.LABELLED, Side.UNLABELLED) for domain in (source, target)]
    few = source.labelled_rows(Side.LABELLED)
    made = {
        "finetune": (few, "semisup.supervised", "Supervised learning"),
        "adapt/source_only": (both[0], "adaptation.source_only", ADAPTATIONS["source_only"]),
        "adapt/coral": (mixed(*both), "adaptation.coral", ADAPTATIONS["coral"]),
        "adapt/train_on_target": (both[1], "adaptation.train_on_target", ADAPTATIONS["train_on_target"]),
    }
    for name, (rows, method, title) in made.items():
        classifier, losses = trained(rows)
        save_model(folder / "models" / name, classifier, described(method, title, rows.classes))
        curve = [
            {"step": 20.0 * (n + 1), "loss": loss, "accuracy": 0.5, "learning_rate": 0.1}
            for n, loss in enumerate(losses)
        ]
        write_curve(folder / "plots/curves" / f"{name}.tsv", curve)
        work = {"images_seen": 3200, "flops": FLOPS[name]}
        write_json(folder / "metrics" / f"{name}.json", {"steps": 80, "kept_step": 60, "validation": 0.75, **work})
    save_model(folder / "models/pretrain", trained(few)[0].encoder, described("pretext.made_up", "Made-up learning"))
    write_curve(folder / "plots/curves/pretrain.tsv", [{"step": 20.0, "loss": 2.0}, {"step": 40.0, "loss": 1.0}])
    write_json(
        folder / "metrics/pretrain.json", {"steps": 40, "images": 320, "images_seen": 6400, "flops": FLOPS["pretrain"]}
    )
    rules = {
        "readable": {"severity": "critical", "passed": True, "count": 0, "of": 300, "first": []},
        "dark": {
            "severity": "warning",
            "passed": False,
            "count": 7,
            "of": 300,
            "first": ["a/1_<b>.png (2)", "a/2.png (3)"],
        },
    }
    write_json(folder / "metrics/validate/source.json", {"files": 300, "images": 300, "warnings": 1, "rules": rules})
    write_json(folder / "metrics/validate/target.json", {"files": 0, "note": "nothing was checked"})
    counts = {side.value: {} for side in Side} | {"labelled": {"0": 60}, "test": {"0": 80}}
    labels = {"training": 60, "validation": 60, "all": 120, "choosing_by": "labels beside the budget"}
    write_json(folder / "metrics/split.json", {"source": {**counts, "labels": labels}, "target": counts})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        baseline.run()
    return folder


@pytest.fixture
def trained_project(_trained_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained project for one test; the copy is the working directory."""
    folder = tmp_path / "trained_project"
    shutil.copytree(_trained_project, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def _reported(_trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reported") / "project"
    shutil.copytree(_trained_project, folder)
    make_report(folder)
    return folder


@pytest.fixture
def reported(_reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project with its report for one test; the copy is the working directory."""
    folder = tmp_path / "reported"
    shutil.copytree(_reported, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def permute_labels() -> Callable[[Path, str, str], None]:
    """A function of (project, domain, side) that permutes the labels of these rows."""

    def permute(folder: Path, domain: str, side: str) -> None:
        path = folder / "data/stores" / domain / "manifest.parquet"
        manifest = pd.read_parquet(path)
        rows = np.flatnonzero(pd.read_parquet(folder / "data/splits" / f"{domain}.parquet")["side"] == side)
        assert len(rows)
        order = np.random.default_rng(0).permutation(rows)
        manifest.loc[rows, ["label", "given_class"]] = manifest.loc[order, ["label", "given_class"]].to_numpy()
        manifest.to_parquet(path, index=False)

    return permute


@pytest.fixture(scope="session")
def one_domain(_trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without its target, as `data.target: {kind: none}` leaves it, with its report; read-only."""
    folder = tmp_path_factory.mktemp("one_domain") / "project"
    shutil.copytree(_trained_project, folder)
    store = folder / "data/stores/target"
    np.save(store / "images.npy", np.zeros((0, 1, 8, 8), np.uint8))
    pd.read_parquet(store / "manifest.parquet").iloc[:0].to_parquet(store / "manifest.parquet", index=False)
    about = json.loads((store / "store.json").read_text())
    write_json(store / "store.json", about | {"images": 0})
    split = folder / "data/splits/target.parquet"
    pd.read_parquet(split).iloc[:0].to_parquet(split, index=False)
    for name in ADAPTATIONS:
        shutil.rmtree(folder / "models/adapt" / name)
        write_json(folder / "models/adapt" / name / "model.json", {"skipped": "there is no target domain"})
        write_json(folder / "metrics/adapt" / f"{name}.json", {"skipped": "there is no target domain"})
        write_curve(folder / "plots/curves/adapt" / f"{name}.tsv", [])
    make_report(folder)
    return folder


def make_report(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in (probe, evaluate, select, report):
            stage.run()


def trained(rows: Rows) -> tuple[Classifier, list[float]]:
    """A classifier after a few steps on `rows`, and its losses."""
    torch.manual_seed(0)
    classifier = described("", "", rows.classes).new_classifier(described("", "").new_encoder())
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.01)
    images, labels = as_float(torch.from_numpy(rows.images)), torch.from_numpy(rows.labels)
    losses = []
    for step in range(80):
        part = torch.arange(step * 40, step * 40 + 40) % len(labels)
        loss = F.cross_entropy(classifier(images[part]), labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 19:
            losses.append(float(loss.detach()))
    return classifier.eval(), losses


def described(method: str, name: str, classes: tuple[str, ...] = ()) -> Description:
    provenance = {
        "method": method,
        "name": name,
        "about": "learns | from <images>.",
        "paper": "",
        "start": "pretrained",
    }
    return Description(
        SmallConfig(widths=(8, 16)), PREPROCESSING, HeadConfig() if classes else None, classes, provenance
    )


def mixed(first: Rows, second: Rows) -> Rows:
    """Rows of both, most of them of the first."""
    shown = slice(None, None, 4)
    images = np.concatenate([first.images, second.images[shown]])
    labels = np.concatenate([first.labels, second.labels[shown]])
    order = np.random.default_rng(0).permutation(len(labels))
    return Rows(images[order], labels[order], order, first.classes)


def write_json(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
