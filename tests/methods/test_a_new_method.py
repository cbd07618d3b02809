"""A new method needs one module and one YAML file: help, form, docs, leaderboard and tests then include it."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from parameters import choices_of
from repflow.stages import ingest, split
from zoo import table
from zoo.classical import FEATURES

pytestmark = pytest.mark.xdist_group("a new method")  # one worker makes the copy for all tests here

ROOT = Path(__file__).parents[2]

MODULE = '''"""Toy: predict how bright an image is.

Nobody. Nothing Much. NEVER 2026.
"""

import torch.nn.functional as F
from torch import nn

from repflow.data.read.batches import Batches
from repflow.randomness.draws import Draw
from repflow.encoders import Encoder
from repflow.training.contract import EncoderMethod, Losses
from repflow.schema import parameters


@parameters
class Config:
    """A toy has no parameters."""


class Toy(EncoderMethod):
    """The encoder with a linear layer that predicts the brightness."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.width, 1)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Mean squared error of the mean over pixels and channels."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        predicted = self.head(self.encoder(images)).squeeze(1)  # [B]
        return Losses(F.mse_loss(predicted, images.mean((1, 2, 3)).to(predicted)))
'''

CHOICE = """# Toy (Nobody, NEVER 2026): how bright is an image?
# Command: repflow compose pretrain=toy && dvc repro
defaults:
  - /training@training: pretext
  - _self_

family: pretext
name: toy
"""


def run(folder: Path, *command: str) -> str:
    """What the command says, run in a folder of the copy and on the copy's code."""
    copy = next(each for each in (folder, *folder.parents) if (each / "src").is_dir())
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    variables = {**quiet, "PYTHONPATH": f"{copy / 'src'}:{copy / 'benchmarks'}", "COLUMNS": "200"}
    variables["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which the leaderboard's quick variant is up to date, as if it had all been trained."""
    copy = tmp_path_factory.mktemp("checkout")
    bytecode, made = "__pycache__", ("data", "metrics", "right", "costs", "code")
    folders = ("src", "conf", "benchmarks/numerics", "benchmarks/speed")
    for folder, left_out in (*((folder, ()) for folder in folders), ("benchmarks/zoo", made)):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns(bytecode, *left_out))
    for file in ("tests/conftest.py", "tests/methods/test_every_method.py", "pyproject.toml"):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, copy / file)
    (copy / "benchmarks/.dvc").mkdir()
    (copy / "benchmarks/.dvc/config").write_text("[core]\n    analytics = false\n    no_scm = true\n")
    zoo = copy / "benchmarks/zoo"
    with contextlib.chdir(zoo / "digits"):
        for domain in ("source", "target"):
            ingest.run(domain)
        split.run()
    keep_quick_ones(zoo)
    for folder in ("metrics", "right"):
        (zoo / folder / "digits").mkdir(parents=True)
    for name in (*FEATURES, *(settings.stem for settings in (zoo / "settings/digits").glob("*.yaml"))):
        (zoo / f"metrics/digits/{name}-0.json").write_text("{}")
        (zoo / f"right/digits/{name}-0.safetensors").touch()
    graph = yaml.safe_load((zoo / "dvc.yaml").read_text())
    graph["stages"]["prepare"]["foreach"] = {"digits": graph["stages"]["prepare"]["foreach"]["digits"]}
    del graph["stages"]["sensitivity"], graph["stages"]["long"]  # which are of MNIST and CIFAR-10
    (zoo / "dvc.yaml").write_text(yaml.safe_dump(graph))
    run(zoo.parent, sys.executable, "-m", "zoo.code")
    run(zoo, "dvc", "commit", "--force")
    return copy


def keep_quick_ones(zoo: Path) -> None:
    """Leave one seed of each method on the digits to measure."""
    params = yaml.safe_load((zoo / "params.yaml").read_text())
    (zoo / "params.yaml").write_text(yaml.safe_dump({**params, "data": ["digits"], "seeds": [0]}))


@pytest.fixture(scope="module")
def checkout(untouched: Path) -> Path:
    """The copy with the new method: these two files are all that is written."""
    (untouched / "src/repflow/methods/pretext/toy.py").write_text(MODULE)
    (untouched / "conf/pretrain/toy.yaml").write_text(CHOICE)
    return untouched


def test_the_help_says_what_it_does(checkout: Path) -> None:
    assert "• toy: predict how bright an image is." in run(checkout, "repflow", "pretrain", "--help")


def test_the_form_offers_it(checkout: Path) -> None:
    choices = choices_of(checkout / "conf")
    assert choices(pretrain="toy").overrides() == ["pretrain=toy"]
    offered = str(choices.model_fields["pretrain"].description)
    assert "• toy: Toy (Nobody, NEVER 2026): how bright is an image?" in offered


def test_the_docs_list_it(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROOT", checkout)
    page = table.filled((ROOT / "docs/methods.md").read_text(), pd.DataFrame())
    assert "| `toy` | Toy | Predict how bright an image is. | Nobody. Nothing Much. NEVER 2026. |\n" in page


def test_all_tests_of_methods_include_it_and_pass(checkout: Path) -> None:
    pytest_here = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    said = run(checkout, *pytest_here, "tests/methods/test_every_method.py", "-k", "pretrain/toy")
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert int(passed[1]) >= 8


def test_the_leaderboard_trains_it_alone(checkout: Path) -> None:
    zoo = checkout / "benchmarks/zoo"
    run(zoo.parent, sys.executable, "-m", "zoo.compose")
    settings = {path.parent.name: path for path in zoo.glob("settings/*/toy.yaml")}
    assert set(settings) == {"digits", "mnist", "cifar10", "cifar10-long"}
    section = yaml.safe_load(settings["digits"].read_text())
    section["method"]["training"] |= {"steps": 2, "batch_size": 16}
    settings["digits"].write_text(yaml.safe_dump(section))
    keep_quick_ones(zoo)
    said = run(zoo, "dvc", "repro", "--glob", "learn@digits-*-0")
    assert set(re.findall(r"Running stage '([^']+)'", said)) == {"code", "learn@digits-toy-0"}
    assert 0 < json.loads((zoo / "metrics/digits/toy-0.json").read_text())["knn"] <= 1
