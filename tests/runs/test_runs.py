"""Isolated runs: what they commit, that they change nothing else, and that they leave nothing behind."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.errors import ParameterError, RepflowError
from repflow.runs.isolated import default_name, isolated
from repflow.runs.listing import list_runs, prune
from repflow.runs.message import run_message
from repflow.runs.repository import open_repository
from repflow.runs.start import start

pytestmark = pytest.mark.xdist_group("runs")  # one worker makes the project

Git = Callable[..., str]
REPFLOW = [sys.executable, "-c", "from repflow.cli.app import app; app()"]


def everything(project: Path) -> dict[str, bytes]:
    """Every file of the checkout except the internal files of git, DVC and runs."""
    kept = (".git", ".dvc", ".repflow")
    files = [path for path in project.rglob("*") if path.is_file() and path.relative_to(project).parts[0] not in kept]
    return {str(path): path.read_bytes() for path in files}


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_run_commits_what_it_changed_and_leaves_the_checkout_alone(project: Path, git: Git) -> None:
    (project / "conf/notes.txt").write_text("not committed\n")
    before, status = everything(project), git(project, "status", "--short")
    message = start(project, ["pretrain=rotation", "seed=7"])
    assert everything(project) == before
    assert (git(project, "status", "--short"), git(project, "branch", "--show-current")) == (status, "main")
    branch = "run/pretrain-rotation-seed-7"
    changed = git(project, "diff", "--name-only", "main", branch).split()
    assert changed == ["conf/chosen.yaml", "dvc.lock", "metrics/evaluate.json", "params.yaml"]
    assert yaml.safe_load(git(project, "show", f"{branch}:params.yaml"))["pretrain"]["name"] == "rotation"
    assert git(project, "log", "-1", "--format=%B", branch) == message.strip()
    assert git(project, "worktree", "list").count("\n") == 0
    assert message.splitlines()[0] == "run pretrain-rotation-seed-7: pretrain=rotation seed=7"
    assert "Starts from " in message
    assert "(The project)" in message
    assert "  seed: 0 -> 7\n" in message
    assert "  pretrain.name: 'simclr' -> 'rotation'\n" in message
    assert "  metrics/evaluate.json finetune.accuracy: 0 -> 0.7 (0.1 to 0.9)\n" in message
    assert "ece" not in message
    # Its outputs are in the shared cache.
    git(project, "stash", "--include-untracked", "--quiet")
    git(project, "checkout", "--quiet", branch)
    dvc(project, "checkout", "--quiet")
    assert "up to date" in dvc(project, "repro")


def test_parallel_runs_do_not_affect_each_other(project: Path, git: Git) -> None:
    before = everything(project)
    processes = [subprocess.Popen([*REPFLOW, "runs", "start", f"seed={seed}"], cwd=project) for seed in (3, 4, 5)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    for seed in (3, 4, 5):
        assert f'"accuracy": 0.{seed}' in git(project, "show", f"run/seed-{seed}:metrics/evaluate.json")
        assert yaml.safe_load(git(project, "show", f"run/seed-{seed}:params.yaml"))["seed"] == seed
    assert everything(project) == before
    listed = list_runs(project)
    assert {(run.name, run.state) for run in listed} == {(f"seed-{seed}", "finished") for seed in (3, 4, 5)}
    list(prune(project, [], ["finished"]))
    assert git(project, "branch", "--list", "run/*") == ""
    assert not (project / ".repflow/runs").exists()
    assert git(project, "status", "--short") == ""


def test_a_failed_run_resumes(project: Path, git: Git) -> None:
    # Its worktree is .repflow/runs/NAME, from where ../../../broken is a file next to the checkout.
    (project / "broken").touch()
    slow_down(project, git, ".1")
    with pytest.raises(RepflowError, match=r"run slow: a stage failed .*: repflow runs start --name slow"):
        start(project, [], name="slow")
    assert [(run.name, run.state, run.about) for run in list_runs(project)] == [("slow", "stopped", "")]
    worktree = project / ".repflow/runs/slow"
    (worktree / "checkpoint").write_text("half done")
    with pytest.raises(RepflowError, match=r"run slow: a stopped run .* other overrides \(none\).*choose another name"):
        start(project, ["seed=3"], name="slow")
    (project / "broken").unlink()
    with isolated(project, [], name="slow") as run:
        assert (run.folder / "checkpoint").read_text() == "half done"
    start(project, [], name="slow")
    assert [run.state for run in list_runs(project)] == ["finished"]


def test_a_running_run_is_locked(project: Path) -> None:
    with isolated(project, [], name="mine") as run:
        assert [listed.state for listed in list_runs(project)] == ["running"]
        with (
            pytest.raises(RepflowError, match="run mine: another process is running it"),
            isolated(project, [], name="mine"),
        ):
            pass
        with pytest.raises(RepflowError, match="run mine: another process is running it; stop that process first"):
            list(prune(project, ["mine"]))
        with isolated(project, []) as other:
            assert other.folder != run.folder
        # Settings of the machine are not tracked by git, and credentials stay private.
        assert oct((run.folder / ".dvc/config.local").stat().st_mode)[-3:] == "600"
    assert [listed.state for listed in list_runs(project)] == ["stopped", "stopped"]
    list(prune(project, ["mine"], ["stopped"]))
    assert list_runs(project) == []


def test_a_terminated_run_terminates_its_stages(project: Path, git: Git) -> None:
    slow_down(project, git, "1000")
    with subprocess.Popen([*REPFLOW, "runs", "start"], cwd=project) as process:
        while not _sleepers():
            assert process.poll() is None
            time.sleep(0.1)
        sleepers = _sleepers()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    while set(_sleepers()) & set(sleepers):
        time.sleep(0.1)
    assert [run.state for run in list_runs(project)] == ["stopped"]


def slow_down(project: Path, git: Git, delay: str) -> None:
    """Commit a pipeline whose first stage is different, and takes `delay` seconds."""
    (project / "dvc.yaml").write_text((project / "dvc.yaml").read_text().replace('delay: ""', f"delay: '{delay}'"))
    git(project, "commit", "--quiet", "--all", "--message", "Slower")


def _sleepers() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\x0001000\x00":
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_run_is_pushed_with_its_cache(project: Path, tmp_path: Path, git: Git) -> None:
    git(tmp_path, "init", "--bare", "--quiet", "origin.git")
    git(project, "remote", "add", "origin", str(tmp_path / "origin.git"))
    with pytest.raises(RepflowError, match="no DVC remote to push to; add one: dvc remote add --default NAME URL"):
        start(project, [], name="eight", push=True)
    # A relative path is resolved from the checkout, although the worktree is in a subfolder.
    dvc(project, "remote", "add", "--local", "--default", "store", "../storage")
    start(project, [], name="eight", push=True)
    assert git(project, "ls-remote", "origin", "run/eight").split()[0] == git(project, "rev-parse", "run/eight")
    assert any(path.is_file() for path in (tmp_path / "storage").rglob("*"))


def test_a_run_without_a_remote_to_push_to_fails_before_it_starts(project: Path) -> None:
    with pytest.raises(RepflowError, match=r"no default git remote to push to \(there are no remotes\)"):
        start(project, [], name="eight", push=True)
    assert list_runs(project) == []


def test_an_unknown_choice_leaves_nothing_behind(project: Path, git: Git) -> None:
    with pytest.raises(
        ParameterError, match="pretrain=rotatoin: no such choice in conf/pretrain/; did you mean 'rotation'"
    ):
        start(project, ["pretrain=rotatoin"])
    assert git(project, "branch", "--list", "run/*") == ""
    assert git(project, "worktree", "list").count("\n") == 0


@pytest.mark.parametrize("name", ["../up", "a b", "Main", "-x", "a/b", "a" * 51])
def test_a_name_with_other_characters_is_refused(project: Path, name: str) -> None:
    with pytest.raises(ParameterError, match="not allowed as the name of a run"), isolated(project, [], name=name):
        pass


def test_a_detached_head_is_a_start_like_any_other(project: Path, git: Git) -> None:
    git(project, "checkout", "--quiet", "--detach")
    start(project, [])
    assert git(project, "merge-base", "HEAD", "run/run") == git(project, "rev-parse", "HEAD")


def test_uncommitted_changes_cause_a_warning_and_are_kept(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    (project / "params.yaml").write_text((project / "params.yaml").read_text() + "# mine\n")
    before = everything(project)
    start(project, [])
    assert "it does not include the uncommitted changes in params.yaml" in caplog.text
    assert everything(project) == before


def test_without_a_usable_repository_the_message_says_what_to_do(project: Path, tmp_path: Path, git: Git) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(RepflowError, match="not in a git repository, which runs need; create one: git init"):
        open_repository(bare)
    git(bare, "init", "--quiet")
    with pytest.raises(RepflowError, match="has no commit to start from; commit first: git add --all"):
        open_repository(bare)
    git(project, "rm", "--quiet", "--cached", "dvc.yaml")
    git(project, "commit", "--quiet", "--message", "Without")
    with pytest.raises(RepflowError, match=r"dvc.yaml: not in the last commit"):
        open_repository(project)


def test_a_run_without_a_git_author_fails_before_it_starts(
    project: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {"user.name": "", "user.email": "", "user.useConfigOnly": "true"}.items():
        git(project, "config", key, value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for role in ("AUTHOR", "COMMITTER"):  # which other tests may have set
        for part in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{role}_{part}", raising=False)
    with pytest.raises(RepflowError, match="git has no author for commits"):
        start(project, ["seed=5"])


def test_the_default_name_is_made_from_the_overrides() -> None:
    assert (
        default_name(["pretrain=rotation", "split.labels_per_class=20"]) == "pretrain-rotation-split-labelsperclass-20"
    )
    assert default_name([]) == "run"
    assert len(default_name([f"seed={10**60}"])) <= 50


def test_a_message_lists_a_limited_number_of_parameters(project: Path, git: Git) -> None:
    parameters = yaml.safe_load((project / "params.yaml").read_text())
    parameters["augment"]["more"] = {f"key{number}": number for number in range(50)}
    (project / "params.yaml").write_text(yaml.safe_dump(parameters))
    message = run_message(project, "long", git(project, "rev-parse", "HEAD"), ["a" * 100])
    assert "  and 10 more\n" in message
    assert len(message.splitlines()[0]) <= 72
    assert "Metrics: unchanged." in message


def test_the_commands_list_and_prune(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    runner = CliRunner()
    assert "no runs; start one with `repflow runs start group=choice`" in runner.invoke(app, ["runs"]).output
    started = runner.invoke(app, ["runs", "start", "--name", "first"])
    assert started.exit_code == 0, started.output
    assert "\nrun first: no overrides\n" in started.output
    listed = runner.invoke(app, ["runs"]).output.splitlines()
    assert listed[0].split() == ["run", "state", "committed", "description"]
    assert listed[1].split()[:2] == ["first", "finished"]
    wrong = runner.invoke(app, ["runs", "prune", "second"])
    assert (wrong.exit_code, "second: no such run (existing runs: first)" in wrong.output) == (2, True)
    assert runner.invoke(app, ["runs", "prune", "first"]).output.startswith("first: deleted (its branch was at ")
    assert "nothing to delete" in runner.invoke(app, ["runs", "prune"]).output
