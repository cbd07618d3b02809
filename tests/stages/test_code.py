"""Only what runs changed code runs again, and no record names code that did not make its outputs."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from repflow.fingerprints import Files
from repflow.stages import code, ingest, split

pytestmark = pytest.mark.xdist_group("fingerprints")  # one worker makes the copy for all tests here

ROOT = Path(__file__).parents[2]
TRAININGS = {"pretrain", "tune", "finetune", "adapt@dann", "adapt@source_only"}
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
BIN = Path(sys.executable).parent


def run(folder: Path, *command: str, code: int = 0) -> str:
    """What the command says, run in the copy and on the copy's code."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    variables = {**quiet, "PYTHONPATH": str(folder / "src"), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout whose record is up to date, as if every stage had been run."""
    copy = tmp_path_factory.mktemp("recorded") / "checkout"
    for folder in ("src", "conf"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / file, copy / file)
    run(copy, "git", "init", "--quiet")
    run(copy, "dvc", "init", "--quiet")
    choices = ["adapt=[dann,source_only]", "pretrain.training.steps=400", "pretrain.training.batch_size=16"]
    run(copy, "repflow", "compose", *choices, "runtime.checkpoints.every_seconds=0.2")
    with contextlib.chdir(copy):
        for domain in ("source", "target"):
            ingest.run(domain)
        split.run()
    run(copy, "repflow", "code")
    for path in outputs():
        place = copy / path
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("{}") if place.suffix else place.mkdir()
            if not place.suffix:
                (place / "made.txt").write_text(path)
    (copy / "models/tune/best.yaml").write_text("{}\n")
    run(copy, "dvc", "commit", "--force")
    run(copy, "git", "add", "--all")
    run(
        copy,
        "git",
        *["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "recorded"],
    )
    return copy


def outputs() -> list[str]:
    """Everything that the stages of dvc.yaml make, with two methods of adaptation."""
    found = []
    for stage in GRAPH.values():
        body = stage.get("do", stage)
        keys = {"${data.reads}": ("source", "target"), "${adapt}": ("dann", "source_only")}
        entries = stage.get("foreach", ("",))
        for kind in ("outs", "metrics", "plots"):
            for out in body.get(kind, ()):
                path = out if isinstance(out, str) else next(iter(out))
                found += [path.replace("${key}", key) for key in keys.get(str(entries), entries)]
    return found


@pytest.fixture
def checkout(recorded: Path, tmp_path: Path) -> Path:
    """The copy, for one test."""
    folder = tmp_path / "checkout"
    shutil.copytree(recorded, folder, symlinks=True)
    return folder


def edit(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))


def stale(checkout: Path) -> set[str]:
    """Stages whose own code is not the one that their record names, after the stage `code` has run."""
    run(checkout, "dvc", "repro", "--single-item", "code")
    printed = run(checkout, "dvc", "status", "--json")
    status = json.loads(printed[printed.index("{") :])
    return {stage for stage, changes in status.items() if "code/" in json.dumps(changes)}


def test_a_stage_depends_on_its_own_fingerprint() -> None:
    for name, stage in GRAPH.items():
        body = stage.get("do", stage)
        expected = {"code": [], "adapt": ["code/adapt/${key}.json"]}.get(name, [f"code/{name}.json"])
        assert [dep for dep in body.get("deps", ()) if dep.startswith("code/")] == expected
        assert not [dep for dep in body["deps"] if "src/" in dep] or name == "code"
    assert set(GRAPH) == {"code", *code.STAGES}


def test_comments_docstrings_and_layout_rerun_nothing(checkout: Path) -> None:
    assert "up to date" in run(checkout, "dvc", "status")
    for path in (checkout / "src").rglob("*.py"):
        path.write_text(f"# A comment.\n{path.read_text()}\n\n\n# Another.\n")
    loop = checkout / "src/repflow/training/loop.py"
    edit(loop, lambda text: text.replace('"""', '"""Said in other words: ', 1))
    run(checkout, "ruff", "format", "--line-length", "79", "src/repflow/training")
    assert "repflow.training.loop" in (checkout / "code/pretrain.json").read_text()
    assert re.findall(r"Running stage '([^']+)'", run(checkout, "dvc", "repro")) == ["code"]
    assert "up to date" in run(checkout, "dvc", "status")
    assert run(checkout, "git", "status", "--short", "code", "metrics", "plots") == ""


FUNCTION = "\n\ndef _added() -> int:\n    return 1\n"
CHANGES = {
    "training/loop.py": TRAININGS,
    "methods/pretext/simclr.py": {"pretrain"},
    "methods/semisup/fixmatch.py": {"tune", "finetune"},
    "methods/adaptation/dann.py": {"adapt@dann"},
    "methods/pretext/rotation.py": set(),
    "evaluation/knn.py": {"probe"},
    "evaluation/selection.py": {"select"},
    "evaluation/intervals.py": {"probe", "evaluate", "select", "tune"},
    "data/ingest/decode.py": {"ingest@source", "ingest@target"},
    "data/splits.py": {"split"},
    "data/checks.py": {"validate@source", "validate@target"},
    "stages/reporting/page.py": {"report"},
    "stages/reporting/templates/page.css": {"report"},
    "stages/searching/study.py": {"tune"},
    "review/compare.py": set(),
}
"""Module, or file beside one, to the stages that run it."""


def added(module: str) -> str:
    """What is added to a module to change what it does."""
    return "p {}" if module.endswith(".css") else FUNCTION


class Edited(Files):
    """The source files of a checkout, with something added to one of them."""

    def __init__(self, top: Path, module: str):
        super().__init__(top)
        self._module = module

    def load(self, path: str) -> bytes | None:
        found = super().load(path)
        return found if found is None or path != f"repflow/{self._module}" else found + added(self._module).encode()


def addresses(name: str) -> set[str]:
    """What DVC calls the stages that depend on the fingerprint `name`."""
    of_domains = name in GRAPH and "foreach" in GRAPH[name]
    return {f"{name}@source", f"{name}@target"} if of_domains else {name.replace("/", "@")}


@pytest.mark.parametrize("module", CHANGES)
def test_a_changed_function_changes_the_fingerprints_of_the_stages_that_run_it_and_no_other(
    recorded: Path, module: str
) -> None:
    parameters = yaml.safe_load((recorded / "params.yaml").read_text())
    before, after = (
        code.fingerprints(parameters, source) for source in (Files(recorded / "src"), Edited(recorded / "src", module))
    )
    changed = {name for name in before if before[name] != after[name]}
    assert set().union(*map(addresses, changed)) == CHANGES[module]


# A function of several stages, one of an entry of a section, a file that is no module, and one that nothing runs.
@pytest.mark.parametrize(
    "module",
    [
        "training/loop.py",
        "methods/adaptation/dann.py",
        "stages/reporting/templates/page.css",
        "methods/pretext/rotation.py",
    ],
)
def test_dvc_reruns_the_stages_with_another_fingerprint_and_no_other(checkout: Path, module: str) -> None:
    edit(checkout / "src/repflow" / module, lambda text: text + added(module))
    assert stale(checkout) == CHANGES[module]


def test_another_method_is_another_code(checkout: Path) -> None:
    def modules() -> set[str]:
        return set(json.loads((checkout / "code/pretrain.json").read_text()))

    before = modules()
    run(checkout, "repflow", "compose", "pretrain=mixture_of_pretext_tasks", "adapt=[dann]")
    run(checkout, "dvc", "repro", "--single-item", "code")
    methods = {"mixture_of_pretext_tasks", "rotation", "exemplar", "autoencoder"}
    assert {f"repflow.methods.pretext.{name}" for name in methods} <= modules() - before
    assert "repflow.methods.pretext.simclr" in before - modules()
    assert not (checkout / "code/adapt/source_only.json").exists()


def test_the_introduction_of_a_method_is_shown_by_the_card_and_the_report_alone(checkout: Path) -> None:
    edit(checkout / "src/repflow/methods/pretext/simclr.py", lambda text: text.replace('"""', '"""My own ', 1))
    assert stale(checkout) == {"select", "report"}
    assert "simclr (docstring)" in (checkout / "code/report.json").read_text()


def test_the_command_says_which_modules_changed(checkout: Path) -> None:
    edit(checkout / "src/repflow/evaluation/knn.py", lambda text: text + FUNCTION)
    assert "code: probe: evaluation.knn" in run(checkout, "repflow", "code")


def test_the_record_is_checked_against_the_code(checkout: Path) -> None:
    run(checkout, "repflow", "check")
    edit(checkout / "src/repflow/evaluation/knn.py", lambda text: f"# A comment.\n{text}")
    run(checkout, "repflow", "check")
    edit(checkout / "src/repflow/evaluation/knn.py", lambda text: text + FUNCTION)
    printed = run(checkout, "repflow", "check", code=7)
    assert "  probe: code: evaluation.knn" in printed
    assert "pretrain" not in printed


def test_a_comparison_names_the_modules_that_changed(checkout: Path) -> None:
    edit(checkout / "src/repflow/evaluation/knn.py", lambda text: text + FUNCTION)
    run(checkout, "dvc", "repro", "--single-item", "code")
    run(checkout, "dvc", "commit", "--force", "probe")
    printed = run(checkout, "repflow", "compare", "HEAD")
    assert "| `probe` | code `evaluation.knn` |" in printed


def train(checkout: Path, change: Callable[[], None]) -> tuple[int, str]:
    """Exit code and messages of `dvc repro pretrain` with `change` made while it trains."""
    variables = {**os.environ, "PYTHONPATH": str(checkout / "src"), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = ["dvc", "repro", "--single-item", "--force", "pretrain"]
    process = subprocess.Popen(
        command, cwd=checkout, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not list(checkout.glob(".repflow/checkpoints/pretrain/*/*.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    change()
    printed, _ = process.communicate()
    return process.returncode, printed


def test_code_that_is_edited_while_a_stage_runs_is_not_recorded(checkout: Path) -> None:
    lock = (checkout / "dvc.lock").read_text()
    loop = checkout / "src/repflow/training/loop.py"
    status, printed = train(checkout, lambda: edit(loop, lambda text: text + FUNCTION))
    assert status != 0
    assert "exited with 8" in printed
    assert "pretrain: its code changed while it ran (training.loop)" in printed
    assert (checkout / "dvc.lock").read_text() == lock


def test_a_comment_that_is_written_while_a_stage_runs_does_no_harm(checkout: Path) -> None:
    loop = checkout / "src/repflow/training/loop.py"
    status, printed = train(checkout, lambda: edit(loop, lambda text: f"# A comment.\n{text}"))
    assert status == 0, printed


def test_a_stage_refuses_to_run_code_that_its_record_would_not_name(checkout: Path) -> None:
    edit(checkout / "src/repflow/training/loop.py", lambda text: text + FUNCTION)
    printed = run(checkout, "repflow", "pretrain", code=8)
    assert "code/pretrain.json: the code of pretrain has changed since (training.loop); run `dvc repro`" in printed
