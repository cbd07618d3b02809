"""The rooms: what the library may need, and what each stage of dvc.yaml says that it depends on."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from zoo.imports import closure, only_says_what_it_is

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
FAMILIES = ("pretext", "clustering", "semisup", "adaptation")
SHARED = (*FAMILIES, "parts")
"""Folders of what a stage runs by the name of a method."""
PIPELINE_TOOLS = ("dvc", "prefect", "great_expectations", "optuna", "hydra", "matplotlib", "jinja2")

IMPORT_ALL = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is not there")

sys.meta_path.insert(0, Blocker())
for name in {modules}:
    importlib.import_module(name)
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> list[str]:
    return sorted(module_name(path) for path in SOURCE.rglob("*.py"))


def import_all(names: list[str], blocked: tuple[str, ...]) -> None:
    code = IMPORT_ALL.format(blocked=set(blocked), modules=names)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


def test_the_library_imports_without_the_tools_of_the_pipeline() -> None:
    above = ("repflow.stages", "repflow.review", "repflow.cli.app")
    library = [name for name in modules() if not name.startswith(above)]
    assert "repflow.training.loop" in library
    import_all(library, PIPELINE_TOOLS)


@pytest.mark.parametrize("stage", ["ingest", "validate", "split"])
def test_stages_that_learn_nothing_import_no_torch(stage: str) -> None:
    import_all([f"repflow.stages.{stage}"], ("torch", "torchvision", "lightning_fabric"))


def test_the_review_imports_no_torch() -> None:
    review = [name for name in modules() if name.startswith("repflow.review")]
    import_all(review, ("torch", "torchvision", "lightning_fabric"))


def stage_dependencies() -> dict[str, tuple[set[str], tuple[Path, ...]]]:
    """Address of each stage to its modules and the source files and folders among its dependencies."""
    with Repo(str(ROOT)) as repo:
        return {
            stage.addressing: (
                {f"repflow.stages.{command.split()[1]}" for command in stage.cmd.split(" && ")},
                tuple(path for dep in stage.deps if (path := Path(dep.fs_path)).is_relative_to(SOURCE)),
            )
            for stage in repo.index.stages
            if stage.cmd and stage.cmd.startswith("repflow ")
        }


def files_in(path: Path) -> set[Path]:
    files = path.rglob("*.py") if path.is_dir() else [path]
    return {file for file in files if not only_says_what_it_is(file)}


def shown(paths: set[Path]) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in paths)


STAGES = stage_dependencies() if (ROOT / "dvc.yaml").exists() else {}


@pytest.mark.parametrize("address", STAGES)
def test_a_stage_depends_on_the_modules_that_it_runs_and_on_no_other(address: str) -> None:
    run, listed = STAGES[address]
    files = set().union(*map(files_in, listed))
    missing_files = {path for path in listed if not path.exists()}
    assert not missing_files, f"{address} lists what is not there: {shown(missing_files)}"
    methods = {module_name(path) for path in files if path.relative_to(SOURCE / "repflow").parts[0] in SHARED}
    needed = set(closure(run | methods).values())
    assert not needed - files, f"{address} does not list: {shown(needed - files)}"
    assert not files - needed, f"{address} lists what it does not run: {shown(files - needed)}"


@pytest.mark.parametrize("address", [address for address in STAGES if address.split("@")[0] in ("pretrain", "adapt")])
def test_a_stage_with_a_method_depends_on_the_methods_module(address: str) -> None:
    _, listed = STAGES[address]
    assert [path for path in listed if path.relative_to(SOURCE / "repflow").parts[0] in FAMILIES]


CHOICES = sorted((ROOT / "conf/pretrain").glob("*.yaml"))


@pytest.mark.parametrize("choice", CHOICES, ids=lambda path: path.stem)
def test_pretraining_depends_on_all_that_a_method_runs_whichever_is_chosen(choice: Path) -> None:
    common = yaml.safe_load((ROOT / "conf/config.yaml").read_text())["pretrain"]
    chosen = {**common, **yaml.safe_load(choice.read_text())}
    listed = []
    for line in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["pretrain"]["deps"]:
        for key in ("family", "name", "builds_on"):
            line = line.replace(f"${{pretrain.{key}}}", chosen[key])
        listed.append(ROOT / line)
    files = set().union(*(files_in(path) for path in listed if path.is_relative_to(SOURCE)))
    roots = {"repflow.stages.pretrain", f"repflow.{chosen['family']}.{chosen['name']}"}
    roots |= {f"repflow.methods.pretext.{task['name']}" for task in chosen["settings"].get("tasks", ())}
    needed = set(closure(roots).values())
    assert not needed - files, f"dvc.yaml does not list: {shown(needed - files)}"
