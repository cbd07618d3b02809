"""A small project with a history: three stages, a better model, and two more random seeds of each."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

ROOT = Path(__file__).parents[2]

GRAPH = """
stages:
  rows:
    cmd: python code/rows.py
    deps: [code/rows.py]
    params: [seed]
    outs: [data/rows.csv]
  learn:
    cmd: python code/learn.py
    deps: [code/learn.py, data/rows.csv]
    params: [seed, skill]
    outs: [models/learner]
    plots: [{plots/curves/learn.tsv: {cache: false, x: step, y: loss}}]
  evaluate:
    cmd: python code/evaluate.py
    deps: [code/evaluate.py, data/rows.csv, models/learner]
    metrics: [{metrics/evaluate.json: {cache: false}}]
    plots: [{plots/confusion: {cache: false, template: confusion, x: actual, y: predicted}}]
  summary:  # depends on a folder that contains outputs of other stages
    cmd: mkdir -p reports && ls models > reports/summary.txt
    deps: [models, metrics/evaluate.json]
    outs: [reports/summary.txt]
"""
CODE = {
    "rows.py": """
import os, random, pathlib
def trace(name):
    if "TRACE" in os.environ:
        with open(os.environ["TRACE"], "a") as file: file.write(name + "\\n")
seed = int(pathlib.Path("params.yaml").read_text().split()[1])
draw = random.Random(seed)
if __name__ == "__main__":
    trace("rows")
    pathlib.Path("data").mkdir(exist_ok=True)
    pathlib.Path("data/rows.csv").write_text("".join(f"{draw.randrange(4)}\\n" for _ in range(200)))
""",
    "learn.py": """
import math, pathlib
from rows import trace
trace("learn")
skill = float(pathlib.Path("params.yaml").read_text().split()[3])
for folder in ("models/learner", "plots/curves"): pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
pathlib.Path("models/learner/skill.txt").write_text(str(skill))
lines = [f"{step}\\t{math.exp(-skill * step / 50):.4f}\\t" for step in range(0, 201, 20)]
pathlib.Path("plots/curves/learn.tsv").write_text("step\\tloss\\tvalidation\\n" + "\\n".join(lines) + "\\n")
""",
    "evaluate.py": """
import json, pathlib, random
from rows import trace, seed
trace("evaluate")
skill, draw = float(pathlib.Path("models/learner/skill.txt").read_text()), random.Random(f"test {seed}")
labels = pathlib.Path("data/rows.csv").read_text().split()
said = [label if draw.random() < skill else str((int(label) + 1) % 4) for label in labels]
share = round(sum(map(str.__eq__, labels, said)) / len(labels), 4)
pathlib.Path("plots/confusion").mkdir(parents=True, exist_ok=True)
pathlib.Path("plots/confusion/learner.source.csv").write_text(
    "actual,predicted\\n" + "".join(f"{label},{guess}\\n" for label, guess in zip(labels, said)))
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/evaluate.json").write_text(json.dumps({
    "rows": {"source": len(labels)},
    "baseline": {"source": {"accuracy": 0.7, "low": 0.64, "high": 0.76}},
    "learner": {"source": {"accuracy": share, "low": share - 0.06, "high": share + 0.06, "ece": round(1 - share, 4)},
                "over_baseline": {"value": round(share - 0.7, 4), "low": round(share - 0.76, 4),
                                  "high": round(share - 0.64, 4), "beyond": share > 0.76},
                "gain": {"value": skill, "low": skill - 0.3, "high": skill + 0.3, "beyond": skill > 0.7}}}))
""",
}
PARAMETERS = "seed: {seed}\nskill: {skill}\n"


def git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    """An author for commits, and the commands of this Python on the PATH."""
    with pytest.MonkeyPatch.context() as patch:
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "A Developer")
            patch.setenv(f"GIT_{role}_EMAIL", "developer@example.org")
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, read-only: `base` and `main` differ in skill, `run/base-1` and others also in the seed."""
    folder = tmp_path_factory.mktemp("history") / "project"
    git(folder.parent, "init", "--quiet", "--initial-branch=main", folder.name)
    (folder / "code").mkdir()
    for name, text in CODE.items():
        (folder / "code" / name).write_text(text.lstrip())
    (folder / "dvc.yaml").write_text(GRAPH.lstrip())
    Repo.init(str(folder)).close()
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (folder / ".gitignore").write_text("/data\n/models\n/reports\n/review\n__pycache__/\n/.venv\n")
    (folder / ".dvcignore").write_text("__pycache__\n.venv\n")
    skills = {"base": 0.6, "better": 0.9}
    with contextlib.chdir(folder), Repo() as repo:
        for seed in (0, 1, 2):
            for name, skill in skills.items():
                if seed:
                    git(folder, "switch", "--quiet", "--create", f"run/{name}-{seed}", "main")
                (folder / "params.yaml").write_text(PARAMETERS.format(seed=seed, skill=skill))
                repo.reproduce()
                git(folder, "add", "--all")
                git(folder, "commit", "--quiet", "--message", f"Skill {skill}, seed {seed}")
                if (seed, name) == (0, "base"):
                    git(folder, "tag", "base")
        git(folder, "switch", "--quiet", "main")
        repo.checkout(force=True)
    return folder


@pytest.fixture
def clone(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone with all branches, without data and without a cache; the working directory."""
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(history), "clone")
    for branch in git(history, "for-each-ref", "--format=%(refname:short)", "refs/heads/run").split():
        git(folder, "branch", "--quiet", branch, f"origin/{branch}")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def checkout(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy with data and cache; the working directory."""
    folder = tmp_path / "checkout"
    shutil.copytree(history, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def in_git() -> Callable[..., str]:
    """git in a folder: `in_git(folder, "log")`."""
    return git
