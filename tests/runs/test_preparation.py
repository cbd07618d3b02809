"""A run finds in its worktree what the checkout has, or is refused before it leaves a worktree."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from repflow.errors import ParameterError, RepflowError
from repflow.runs.isolated import isolated
from repflow.runs.listing import list_runs

pytestmark = pytest.mark.xdist_group("runs")  # one worker makes the project

Git = Callable[..., str]
OWN = ("data=one_folder", "data.source.path=images")


@pytest.fixture
def images(project: Path) -> Path:
    """Images in the checkout."""
    folder = project / "images/cat"
    folder.mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(folder / "1.png")
    return project / "images"


def commit(project: Path, git: Git) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "images")


def dvc(project: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=project, check=True, capture_output=True)


def test_images_that_dvc_tracks_are_checked_out(project: Path, images: Path, git: Git) -> None:
    dvc(project, "add", "--quiet", "images")
    commit(project, git)
    with isolated(project, OWN) as run:
        found = run.folder / "images"
        assert (found / "cat/1.png").exists()
        assert not found.is_symlink()


def test_dvc_says_why_images_cannot_be_checked_out(project: Path, images: Path, git: Git) -> None:
    dvc(project, "add", "--quiet", "images")
    commit(project, git)
    shutil.rmtree(project / ".dvc/cache/files")
    with pytest.raises(RepflowError, match=r"dvc checkout: .*images"), isolated(project, OWN):
        pass
    assert list_runs(project) == []


def test_images_that_git_ignores_are_linked(project: Path, images: Path, git: Git) -> None:
    with open(project / ".gitignore", "a", encoding="utf-8") as ignored:
        ignored.write("/images\n")
    commit(project, git)
    with isolated(project, OWN, "one") as run:
        assert (run.folder / "images").resolve() == images
    assert (images / "cat/1.png").exists()


def test_a_folder_that_git_tracks_in_part_is_refused(project: Path, images: Path, git: Git) -> None:
    commit(project, git)
    Image.new("RGB", (9, 9)).save(images / "cat/2.png")
    lacks = r"images: .* lacks 1 of its images, such as images/cat/2\.png"
    with pytest.raises(ParameterError, match=lacks), isolated(project, OWN):
        pass
    assert list_runs(project) == []


@pytest.mark.parametrize("name", ["train-1.tar", "data/train.parquet", "metadata.jsonl", "data_batch_2.bin"])
def test_a_set_that_git_tracks_in_part_is_refused(project: Path, images: Path, git: Git, name: str) -> None:
    commit(project, git)
    (images / name).parent.mkdir(exist_ok=True)
    (images / name).write_bytes(b"content")
    with pytest.raises(ParameterError, match=rf"lacks 1 of its images, such as images/{name}"), isolated(project, OWN):
        pass


def test_a_relative_path_out_of_the_checkout_is_refused(project: Path) -> None:
    outside = project.parent / "elsewhere"
    leads = rf"\.\./elsewhere: leads out of the checkout.*absolute path {outside}"
    overrides = ["data=one_folder", "data.source.path=../elsewhere"]
    with pytest.raises(ParameterError, match=leads), isolated(project, overrides):
        pass
    assert list_runs(project) == []


def test_a_run_starts_from_kept_choices_committed_or_not(project: Path, git: Git) -> None:
    chosen = "# @package _global_\ndefaults:\n- override /pretrain: rotation\n\nseed: 3\n"
    (project / "conf/chosen.yaml").write_text(chosen)
    with isolated(project, ["seed=4"], "one") as run:
        made = yaml.safe_load((run.folder / "params.yaml").read_text())
        assert (made["seed"], made["pretrain"]["name"]) == (4, "rotation")
        assert run.repository.uncommitted() == []
    (project / "conf/chosen.yaml").write_text(chosen.replace("3", "5"))
    with pytest.raises(RepflowError, match="other kept choices"), isolated(project, ["seed=4"], "one"):
        pass


def test_parameters_that_conf_does_not_compose_are_warned_of(project: Path) -> None:
    with open(project / "params.yaml", "a", encoding="utf-8") as parameters:
        parameters.write("# by hand\n")
    with isolated(project, []) as run:
        assert run.repository.uncommitted() == ["params.yaml"]


def test_a_project_below_a_folder_with_an_accent(project: Path) -> None:
    moved = project.parent / "josé"
    shutil.copytree(project, moved, symlinks=True)
    with isolated(moved, ["seed=4"]) as run:
        assert "josé" in (run.folder / ".dvc/config.local").read_text(encoding="utf-8")
