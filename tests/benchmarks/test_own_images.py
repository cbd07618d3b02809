"""The measurement of own images: what it asks for, how long the rivals train, and what it writes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import own_images
from repflow.stages.compose import composed

CONF = Path(__file__).parents[2] / "conf"
SCORE = {"accuracy": 0.5, "low": 0.4, "high": 0.6}


class User:
    """Takes the place of the commands: composes as `repflow compose` does, and writes what `dvc repro` measures."""

    def __init__(self) -> None:
        self.said: list[list[str]] = []
        self.composed: dict[str, Any] = {}
        self.cpu = 0.0

    def __call__(self, command: Sequence[str], folder: Path) -> None:
        self.said.append(list(command))
        if command[0] == "git":
            (Path(command[-1]) / "data").mkdir(parents=True)
            (Path(command[-1]) / "metrics").mkdir()
        elif command[0] == "repflow":
            self.composed = yaml.safe_load(composed(CONF, [each for each in command[2:] if each != "--reset"]))
        else:
            self.cpu += 60.0 + 0.6 * (self.composed["finetune"]["training"]["steps"] or 1000)
            found = {"select": {"best": {"source": SCORE}}, "evaluate": {"finetune": {"source": SCORE}}}
            for name, values in found.items():
                (folder / "metrics" / f"{name}.json").write_text(json.dumps(values))


def test_every_part_is_run_and_recorded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = User()
    monkeypatch.setattr(own_images, "_call", user)
    monkeypatch.setattr(own_images, "_cpu", lambda: user.cpu)
    command = [str(tmp_path), str(tmp_path / "records"), "--tasks", "mnist-10", "--seeds", "3", "--rival", "--limit"]
    assert own_images.main([*command, "--set", "hardware.threads=1"]) == 0
    record = json.loads((tmp_path / "records/mnist-10.json").read_text(encoding="utf-8"))
    assert record["choices"] == [*own_images.TASKS["mnist-10"], "hardware.threads=1"]
    [entry] = record["seeds"].values()
    assert list(entry) == ["run", "rival", "limit"]
    assert entry["run"]["cpu_minutes"] == pytest.approx(11.0)
    for part in ("rival", "limit"):  # trained for the 660 seconds of the run, at .6 seconds a step
        assert entry[part] == SCORE | {"minutes": pytest.approx(0, abs=1), "cpu_minutes": pytest.approx(12.0)}
    limit = user.composed
    assert (limit["seed"], limit["finetune"]["name"], limit["finetune"]["start"]) == (3, "supervised", "random")
    assert (limit["finetune"]["training"]["steps"], limit["split"]["labels_per_class"]) == (1100, None)
    before = len(user.said)
    assert own_images.main(command) == 0
    assert len(user.said) == before
