"""A flow says which modules changed where a stage runs because of its code."""

import json
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from changes import changed_modules
from graph import read_graph

GRAPH = """
stages:
  code: {cmd: make, deps: [src], outs: [code: {cache: false}]}
  train: {cmd: train, deps: [code/train.json, data.txt], outs: [model]}
"""
DIGESTS = {"repflow.training.loop": "1", "repflow.errors": "2", "repflow.old": "3"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project below the top of a git repository, with a committed fingerprint."""
    folder = tmp_path / "below"
    (folder / "code").mkdir(parents=True)
    (folder / "code/train.json").write_text(json.dumps(DIGESTS))
    (folder / "dvc.yaml").write_text(GRAPH)
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    Repo.init(str(folder), no_scm=True).close()
    return folder


def test_the_graph_knows_the_fingerprints_of_a_stage(project: Path) -> None:
    stages = read_graph(project)
    assert stages["train"].fingerprints == ("code/train.json",)
    assert stages["train"].upstream == ("code",)
    assert stages["code"].fingerprints == ()


def test_modules_are_compared_with_the_last_commit(project: Path) -> None:
    fingerprints = read_graph(project)["train"].fingerprints
    assert changed_modules(project, fingerprints) == []
    changed = {"repflow.training.loop": "4", "repflow.errors": "2", "repflow.new": "5"}
    (project / "code/train.json").write_text(json.dumps(changed))
    assert changed_modules(project, fingerprints) == ["new", "old", "training.loop"]


def test_a_fingerprint_that_was_never_committed_names_no_module(project: Path) -> None:
    (project / "code/new.json").write_text("{}")
    assert changed_modules(project, ["code/new.json", "code/missing.json"]) == []
