"""What `pretrain` says of a method that makes images, and of one that does not."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from repflow.stages import pretrain

TRAINING = {"steps": 2, "batch_size": 16}


@pytest.mark.parametrize(
    ("section", "generates"),
    [
        ({"name": "gan", "settings": {"codes": 4, "generator": [8, 8]}}, True),
        ({"name": "rotation", "settings": {}}, False),
    ],
    ids=["gan", "rotation"],
)
def test_the_distance_of_made_images_stands_in_the_metrics(
    project: Path, section: dict[str, Any], generates: bool
) -> None:
    path = project / "params.yaml"
    parameters = yaml.safe_load(path.read_text())
    parameters["pretrain"] = {"family": "pretext", "training": TRAINING, **section}
    path.write_text(yaml.safe_dump(parameters))
    pretrain.run()
    metrics = json.loads((project / "metrics/pretrain.json").read_text())
    assert metrics["images"] == 320
    assert ("frechet" in metrics) == ("frechet_real" in metrics) == generates
    if generates:
        assert metrics["frechet"] > 2 * metrics["frechet_real"] > 0
