"""Many isolated runs queued at once on the server, worker and deployment of `make ui`, in a project of two stages."""

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from scheduling.deployed import queue, ui, wait_for
from scheduling.scratch import DVC, clone, commit, git, timed
from speed.spreads import spread

RUNS = 20

_GRAPH = """
stages:
  pretrain:
    cmd: mkdir -p models && sleep 1 && echo ${seed} > models/encoder.txt
    params: [seed]
    outs: [models/encoder.txt]
  evaluate:
    cmd: >-
      mkdir -p metrics && echo "{\\"seed\\": $(cat models/encoder.txt)}" > metrics/evaluate.json
    deps: [models/encoder.txt]
    metrics: [{metrics/evaluate.json: {cache: false}}]
"""


def measure(scratch: Path, runs: int = RUNS) -> dict[str, Any]:
    """Queue the runs, wait for them, check their results, and prune them.

    Args:
        scratch: folder for the project.
        runs: how many.

    Returns:
        `runs`; `right`, how many completed and committed their own parameters and metrics and nothing else;
        `at_once`, the largest number that ran at the same time; `seconds`, from queueing the first to the end of the
        last; the seconds of `each` run as a spread, and of `pruning` all; `touched`, what changed in the checkout;
        `left`, what is left of the runs after pruning.
    """
    project = _project(scratch / "isolated")
    before = _checkout(project)
    with ui(project) as api:
        started = time.monotonic()
        queued = [queue(api, {"choices": {"seed": seed}}) for seed in range(1, runs + 1)]
        ended = [wait_for(api, run) for run in queued]
        seconds = time.monotonic() - started
    right = [run for seed, run in enumerate(ended, 1) if run["state_type"] == "COMPLETED" and _committed(project, seed)]
    touched = sorted(name for name, _ in before.items() ^ _checkout(project).items())
    pruning, _ = timed(project, [str(Path(sys.executable).with_name("repflow")), "runs", "prune", "--finished"])
    spans = [(_moment(run["start_time"]), _moment(run["end_time"])) for run in ended if run["start_time"]]
    return {
        "runs": runs,
        "right": len(right),
        "at_once": most_at_once(spans),
        "seconds": round(seconds, 1),
        "each": spread([end - start for start, end in spans]),
        "pruning": round(pruning, 1),
        "touched": touched,
        "left": _left(project),
    }


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    """The largest number of spans, each a start and an end, that overlap at one moment."""
    return max((sum(first <= start < last for first, last in spans) for start, _ in spans), default=0)


def _project(folder: Path) -> Path:
    """A clone that is up to date, with uncommitted changes."""
    clone(folder, _GRAPH)
    timed(folder, [*DVC, "repro"])
    commit(folder, "Everything up to date")
    (folder / "conf" / "notes.txt").write_text("not committed\n", encoding="utf-8")
    with open(folder / "README.md", "a", encoding="utf-8") as readme:
        readme.write("not committed\n")
    return folder


def _checkout(project: Path) -> dict[str, str]:
    """What must not change: the hashes of all files, HEAD, and `git status`."""
    passed_over = {".git", ".dvc", ".repflow", "__pycache__"}  # of git, DVC, the runs and Python
    files = [path for path in project.rglob("*") if path.is_file() and not passed_over & {*path.parts}]
    found = {str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    found["git status"] = git(project, "status", "--short", "--branch")
    found["HEAD"] = git(project, "rev-parse", "HEAD")
    return found


def _committed(project: Path, seed: int) -> bool:
    """Whether the branch of the run with that seed has one commit, with its own parameters and metrics only."""
    branch = f"run/seed-{seed}"
    if not git(project, "branch", "--list", branch) or git(project, "rev-list", "--count", f"main..{branch}") != "1":
        return False
    parameters = yaml.safe_load(git(project, "show", f"{branch}:params.yaml"))
    metrics = json.loads(git(project, "show", f"{branch}:metrics/evaluate.json"))
    changed = git(project, "diff", "--name-only", f"main..{branch}").split()
    return (parameters["seed"], metrics["seed"]) == (seed, seed) and set(changed) == {
        "dvc.lock",
        "metrics/evaluate.json",
        "params.yaml",
    }


def _left(project: Path) -> list[str]:
    """Branches, worktrees, files and processes that are left of the runs."""
    branches = [f"branch {name}" for name in git(project, "branch", "--list", "run/*", "--format=%(refname)").split()]
    trees = git(project, "worktree", "list", "--porcelain").split("\n\n")[1:]
    folders = [project / ".repflow" / "runs", project / ".git" / "worktrees"]
    files = [str(path.relative_to(project)) for folder in folders if folder.exists() for path in folder.rglob("*")]
    return [*branches, *(tree.splitlines()[0] for tree in trees), *files, *_processes(project)]


def _processes(project: Path) -> Iterator[str]:
    """Processes whose working directory is in the project."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        place = process.info["cwd"] or ""
        if Path(place).is_relative_to(project):
            yield f"process {' '.join(process.info['cmdline'] or [])}"


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
