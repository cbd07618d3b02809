"""Only the baseline `train_on_target` and `evaluate` use target labels: scrambling them changes nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from repflow.stages import adapt, finetune, pretrain

TRAINING = {"steps": 12, "batch_size": 16, "log_every": 4}
ADAPTATIONS = ("source_only", "subspace_alignment", "dann", "train_on_target")


@pytest.fixture(autouse=True)
def sections(project: Path) -> None:
    """Sections for every training stage, with few steps."""
    path = project / "params.yaml"
    parameters: dict[str, Any] = yaml.safe_load(path.read_text())
    common = {"family": "adaptation", "training": TRAINING}
    parameters["adapt"] = {name: {**common, "name": name} for name in ADAPTATIONS}
    parameters["adapt"]["subspace_alignment"]["settings"] = {"dimension": 8}
    parameters["pretrain"] = {"family": "pretext", "name": "simclr", "training": TRAINING}
    parameters["pretrain"]["settings"] = {"augment": [{"op": "pad_and_crop", "padding": 1}]}
    path.write_text(yaml.safe_dump(parameters))
    (project / "models/tune").mkdir()
    (project / "models/tune/best.yaml").write_text("{}\n")


def scramble(project: Path, domain: str) -> None:
    """Permute the classes of all images of the domain."""
    path = project / "data/stores" / domain / "manifest.parquet"
    manifest = pd.read_parquet(path)
    order = np.random.default_rng(0).permutation(len(manifest))
    for column in ("label", "given_class"):
        manifest[column] = manifest[column].to_numpy()[order]
    manifest.to_parquet(path, index=False)


def made(project: Path) -> dict[str, bytes]:
    """The outputs of every training stage, by path."""
    pretrain.run()
    finetune.run()
    for name in ADAPTATIONS:
        adapt.run(name)
    folders = ("models", "metrics", "plots")
    files = [path for folder in folders for path in sorted((project / folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def test_only_the_upper_baseline_uses_target_labels(project: Path) -> None:
    before = made(project)
    scramble(project, "target")
    differing = changed(before, made(project))
    assert "models/adapt/train_on_target/weights.safetensors" in differing
    assert {name for name in differing if "train_on_target" not in name} == set()


def test_source_labels_influence_all_classifiers_but_not_pretraining(project: Path) -> None:
    before = made(project)
    scramble(project, "source")
    differing = changed(before, made(project))
    assert not any("pretrain" in name for name in differing)
    for name in ("finetune", "adapt/source_only", "adapt/subspace_alignment", "adapt/dann"):
        assert f"models/{name}/weights.safetensors" in differing
    assert not any("train_on_target" in name for name in differing)


def test_an_adaptation_without_a_target_is_skipped_without_an_error(project: Path) -> None:
    from repflow.encoders.model_files import was_skipped

    store = project / "data/stores/target"
    np.save(store / "images.npy", np.empty((0, 1, 8, 8), np.uint8))
    pd.read_parquet(store / "manifest.parquet").iloc[:0].to_parquet(store / "manifest.parquet", index=False)
    about = (store / "store.json").read_text().replace('"images": 300', '"images": 0')
    (store / "store.json").write_text(about)
    pd.DataFrame({"index": np.arange(0), "side": []}).to_parquet(project / "data/splits/target.parquet", index=False)
    pretrain.run()
    for name in ADAPTATIONS:
        adapt.run(name)
        assert was_skipped(project / "models/adapt" / name)
        assert "no target domain" in (project / "metrics/adapt" / f"{name}.json").read_text()
