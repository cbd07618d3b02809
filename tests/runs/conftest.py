"""A small project for isolated runs: the real configuration, and a pipeline that only copies files."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GRAPH = """
stages:
  train:
    cmd: cat data/raw/image > model.txt && sleep 0${delay} && test ! -e ../../../broken
    params: [seed, pretrain.name]
    outs: [model.txt]
  test:
    cmd: >-
      mkdir -p metrics;
      echo '{"finetune": {"accuracy": 0.${seed}, "low": 0.1, "high": 0.9, "ece": 0.2}}' > metrics/evaluate.json
    params: [seed]
    deps: [model.txt]
    metrics: [{metrics/evaluate.json: {cache: false}}]
vars: [{delay: ""}]
"""


@pytest.fixture(scope="session")
def git() -> Callable[..., str]:
    """Runs git in a folder, as `git(folder, "status")`, and returns its output."""

    def run(folder: Path, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def _project(tmp_path_factory: pytest.TempPathFactory, git: Callable[..., str]) -> Path:
    folder = tmp_path_factory.mktemp("made") / "project"
    folder.mkdir()
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / ".gitignore").write_text("/.repflow/\n/data/raw\n")
    (folder / ".dvcignore").write_text(".repflow\n")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Tester")
    git(folder, "config", "user.email", "tester@example.org")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([*dvc, "config", "core.analytics", "false"], cwd=folder, check=True)
    (folder / "data/raw").mkdir(parents=True)
    (folder / "data/raw/image").write_text("pixels\n")
    subprocess.run([*dvc, "repro", "--quiet"], cwd=folder, check=True)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "The project")
    return folder


@pytest.fixture
def project(_project: Path, tmp_path: Path) -> Path:
    """A copy for one test, with one commit and everything up to date."""
    folder = tmp_path / "project"
    shutil.copytree(_project, folder, symlinks=True)
    return folder
