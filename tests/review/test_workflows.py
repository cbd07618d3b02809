"""The CI workflows: linted, pinned, with minimal permissions, and their commands run as on a runner."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.xdist_group("history")  # which takes a while to make
ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def read(path: Path) -> dict:
    """Read a workflow; YAML 1.1 reads the key `on` as a boolean."""
    content = yaml.safe_load(path.read_text())
    content["on"] = content.pop(True, {})
    return content


def steps(path: Path) -> list[dict]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def test_zizmor_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("zizmor")
    run = subprocess.run([linter, "--offline", ".github"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert run.stderr.count("completed") == len(WORKFLOWS) == 3


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_and_leaves_no_credentials_behind(path: Path) -> None:
    for step in steps(path):
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step.get("uses", "actions/x@" + "0" * 40))
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_that_run_code_of_pull_requests_are_read_only(path: Path) -> None:
    workflow = read(path)
    triggers = set(workflow["on"])
    assert "pull_request_target" not in triggers
    if "pull_request" in triggers:
        assert workflow["permissions"] == {"contents": "read"}
        assert not any("permissions" in job for job in workflow["jobs"].values())
        assert "secrets." not in path.read_text()
    else:
        assert triggers == {"workflow_run"}
        assert workflow["permissions"] == {}
        assert not any("ref" in step.get("with", {}) for step in steps(path))
        assert [step["run"] for step in steps(path) if "run" in step] == [
            "python3 .ci/comment.py github review/comparison.md"
        ]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_commands_take_untrusted_values_only_from_the_environment(path: Path) -> None:
    assert not any("${{" in step.get("run", "") for step in steps(path))


@pytest.fixture
def change(clone: Path, in_git) -> Path:
    """A branch that starts at `base` and improves the model, while the target branch has new commits."""
    (clone / ".venv").symlink_to(sys.prefix)
    (clone / ".ci").mkdir()
    (clone / ".ci/review").write_bytes((ROOT / ".ci/review").read_bytes())
    (clone / ".ci/review").chmod(0o755)
    in_git(clone, "switch", "--quiet", "--create", "target", "base")
    in_git(clone, "commit", "--quiet", "--allow-empty", "--message", "The target moves on")
    in_git(clone, "switch", "--quiet", "--detach", "main")
    return clone


def run_as_ci(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the shell of a GitHub runner, `bash -e -o pipefail`, with the workflow's environment."""
    variables = {**os.environ, **environment}
    shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", command]
    return subprocess.run(shell, cwd=folder, env=variables, capture_output=True, text=True)


def command(name: str) -> str:
    return next(step["run"] for step in steps(ROOT / ".github/workflows/review.yml") if step.get("name") == name)


def test_the_review_compares_with_the_merge_base(change: Path, tmp_path: Path, in_git) -> None:
    summary = tmp_path / "summary.md"
    base = in_git(change, "rev-parse", "target")
    run = run_as_ci(command("Compare"), change, BASE=base, GITHUB_STEP_SUMMARY=str(summary))
    assert run.returncode == 0, run.stderr
    page = summary.read_text()
    assert page == (change / "review/comparison.md").read_text()
    assert f"## {in_git(change, 'rev-parse', 'base')[:10]} → HEAD" in page
    assert "**better**" in page
    assert "](curves.learn.png)" in (change / "review/figures/comparison.md").read_text()
    assert len(list((change / "review/figures").glob("*.png"))) == 3


def test_the_review_fails_if_dvc_lock_is_out_of_date(change: Path) -> None:
    name = "Is dvc.lock current?"
    assert run_as_ci(command(name), change).returncode == 0
    (change / "params.yaml").write_text("seed: 0\nskill: 0.5\n")
    run = run_as_ci(command(name), change)
    assert run.returncode == 7
    assert "learn: params.yaml: skill modified" in run.stderr


def gitlab_jobs() -> dict:
    content = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    return {name: job for name, job in content.items() if isinstance(job, dict) and "script" in job}


def test_gitlab_runs_the_same_commands(change: Path, in_git) -> None:
    jobs = gitlab_jobs()
    assert set(jobs) == {"test", "review", "comment"}
    install, *scripts = jobs["review"]["script"]
    assert install == command("Install")
    base = in_git(change, "rev-parse", "target")
    run = run_as_ci("\n".join(scripts), change, CI_MERGE_REQUEST_DIFF_BASE_SHA=base)
    assert run.returncode == 0, run.stderr
    assert "**better**" in (change / "review/comparison.md").read_text()
    assert jobs["review"]["artifacts"]["paths"] == ["review"]


def test_the_gitlab_token_is_given_only_to_the_comment_job() -> None:
    jobs = gitlab_jobs()
    assert [name for name, job in jobs.items() if "REVIEW_TOKEN" in str(job)] == ["comment"]
    assert jobs["comment"]["script"] == ["python3 .ci/comment.py gitlab review/comparison.md"]
