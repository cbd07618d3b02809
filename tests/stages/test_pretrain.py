"""The stage `pretrain`: metrics and image grids of generative and other methods, in any precision."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from repflow.data.read.rows import Side, open_domain
from repflow.stages import pretrain

TRAINING = {"steps": 2, "batch_size": 16}


def pretrain_by(project: Path, section: dict[str, Any]) -> None:
    path = project / "params.yaml"
    parameters = yaml.safe_load(path.read_text())
    parameters["pretrain"] = {"family": "pretext", "training": TRAINING, **section}
    path.write_text(yaml.safe_dump(parameters))
    pretrain.run()


@pytest.mark.parametrize(
    ("section", "generates"),
    [
        ({"name": "gan", "settings": {"codes": 4, "generator": [8, 8]}}, True),
        ({"name": "rotation", "settings": {}}, False),
    ],
    ids=["gan", "rotation"],
)
def test_the_distance_of_generated_images_is_in_the_metrics(
    project: Path, section: dict[str, Any], generates: bool
) -> None:
    pretrain_by(project, section)
    metrics = json.loads((project / "metrics/pretrain.json").read_text())
    assert metrics["images"] == 320
    assert ("frechet" in metrics) == ("frechet_real" in metrics) == generates
    if generates:
        assert metrics["frechet"] > 2 * metrics["frechet_real"] > 0


def written_grids(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((project / "plots/pretrain").iterdir())}


AUTOENCODER = {"name": "autoencoder", "settings": {"codes": 4, "decoder": [8]}}
GAN = {"name": "gan", "settings": {"codes": 4, "generator": [8, 8]}}


def test_image_grids_show_validation_images_with_captions(project: Path) -> None:
    pretrain_by(project, AUTOENCODER)
    before = written_grids(project)
    assert set(before) == {"filters.png", "pictures.png"}
    with Image.open(project / "plots/pretrain/pictures.png") as image:
        assert "From left to right: image, reconstruction." in image.info["Description"]
        grid = np.asarray(image)
    assert grid.shape == (8 * 68 - 4, 6 * 68 - 4 + 2 * 12, 4)
    shown = [grid[top : top + 64 : 8, left : left + 64 : 8, 0] for top in range(0, 544, 68) for left in (0, 148, 296)]
    domains = [open_domain(name, project / "data/stores", project / "data/splits") for name in ("source", "target")]
    held_out = [each.tobytes() for domain in domains for each in domain.rows(Side.VALIDATION).images]
    assert len({each.tobytes() for each in shown}) == 24
    assert {each.tobytes() for each in shown} <= set(held_out)
    (project / "plots/pretrain/old.png").write_bytes(b"")
    pretrain.run()
    assert written_grids(project) == before, "the same bytes, and outdated grids are deleted"


@pytest.mark.parametrize("section", [AUTOENCODER, GAN], ids=["autoencoder", "gan"])
def test_grids_can_be_made_with_any_precision(project: Path, section: dict[str, Any]) -> None:
    path = project / "params.yaml"
    parameters = yaml.safe_load(path.read_text())
    parameters["hardware"]["precision"] = "64-true"
    path.write_text(yaml.safe_dump(parameters))
    pretrain_by(project, section)
    assert set(written_grids(project)) == {"filters.png", "pictures.png" if section is AUTOENCODER else "samples.png"}


def test_a_method_without_figures_has_only_the_filters(project: Path) -> None:
    pretrain_by(project, {"name": "rotation", "settings": {}})
    assert set(written_grids(project)) == {"filters.png"}
