"""Handing on one version of models/best: a real git repository, a remote in a folder, and somebody who has neither."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from repflow.encoders import HeadConfig
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.model_files import Description, load_classifier, save_model

ROOT = Path(__file__).parents[2]


def run(*command: str, folder: Path, code: int = 0) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def dvc(*arguments: str, folder: Path, code: int = 0) -> str:
    return run(sys.executable, "-m", "dvc", *arguments, folder=folder, code=code)


def git(*arguments: str, folder: Path) -> str:
    return run("git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments, folder=folder)


def make_model(folder: Path, seed: int) -> None:
    preprocessing = {"size": 8, "channels": 1, "resize": "stretch"}
    description = Description(SmallConfig(widths=(8,)), preprocessing, HeadConfig(), ("a", "b"), {"seed": seed})
    torch.manual_seed(seed)
    save_model(folder, description.new_classifier(description.new_encoder()), description)
    (folder / "README.md").write_text(f"card {seed}\n")


def commit_version(folder: Path, seed: int) -> None:
    """Remakes models/best with DVC, pushes it to the remote, and commits its record."""
    shutil.rmtree(folder / "made", ignore_errors=True)
    make_model(folder / "made", seed)
    dvc("repro", folder=folder)
    dvc("push", folder=folder)
    git("add", "--all", folder=folder)
    git("commit", "--quiet", "--message", f"Version {seed}", folder=folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with two versions of models/best, declared as dvc.yaml of this project declares it."""
    folder = tmp_path_factory.mktemp("handed_on")
    project, storage = folder / "project", folder / "storage"
    project.mkdir()
    git("init", "--quiet", folder=project)
    dvc("init", "--quiet", folder=project)
    dvc("remote", "add", "--default", "storage", str(storage), folder=project)
    stage = {"cmd": "mkdir -p models && cp -r made models/best", "deps": ["made"], "outs": ["models/best"]}
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["artifacts"]
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"select": stage}, "artifacts": declared}))
    commit_version(project, 1)
    git("tag", "--annotate", "best@v1.0.0", "--message", "The first that was good enough", folder=project)
    commit_version(project, 2)
    git("clone", "--quiet", "--bare", str(project), str(folder / "shared.git"), folder=folder)
    shutil.rmtree(project)
    return folder / "shared.git"


def seed_of(folder: Path) -> int:
    classifier, description = load_classifier(folder)
    assert classifier.classes == 2
    assert (folder / "README.md").is_file()
    return int(description.provenance["seed"])


def test_the_project_declares_the_model_that_select_writes() -> None:
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    best = graph["artifacts"]["best"]
    assert best["type"] == "model"
    assert best["path"] in graph["stages"]["select"]["outs"]
    assert best["desc"]
    assert "image-classification" in best["labels"]


def test_a_tagged_version_is_found_by_its_name(shared: Path, tmp_path: Path) -> None:
    dvc("artifacts", "get", str(shared), "best", "--out", "latest", folder=tmp_path)
    dvc("artifacts", "get", str(shared), "best", "--rev", "v1.0.0", "--out", "first", folder=tmp_path)
    assert seed_of(tmp_path / "latest") == seed_of(tmp_path / "first") == 1


def test_without_a_tag_a_revision_names_the_version(shared: Path, tmp_path: Path) -> None:
    dvc("get", str(shared), "models/best", "--out", "newest", folder=tmp_path)
    dvc("get", str(shared), "models/best", "--rev", "HEAD~1", "--out", "older", folder=tmp_path)
    assert (seed_of(tmp_path / "newest"), seed_of(tmp_path / "older")) == (2, 1)


def test_a_version_that_nobody_tagged_is_not_found(shared: Path, tmp_path: Path) -> None:
    assert "best" in dvc("artifacts", "get", str(shared), "best", "--rev", "v2.0.0", folder=tmp_path, code=1)


def test_the_registry_of_tags_lists_the_version(shared: Path) -> None:
    shown = run(str(Path(sys.executable).with_name("gto")), "show", "best", "--repo", str(shared), folder=shared.parent)
    assert "v1.0.0" in shown
