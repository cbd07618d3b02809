"""The rooms: what the library may import, how large its parts may be, and what fingerprints find of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from repflow.fingerprints import Files, closure

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PIPELINE_TOOLS = ("dvc", "prefect", "great_expectations", "optuna", "hydra", "matplotlib", "jinja2")
EXTRAS = ("timm", "huggingface_hub", "onnx", "pillow_heif", "kornia")

IMPORT_ALL = """
import importlib, sys

for name in {blocked}:
    sys.modules[name] = None  # as if it were not installed, also for those that only look whether it is
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


def test_the_library_imports_without_the_tools_of_the_pipeline_and_without_extras() -> None:
    above = ("repflow.stages", "repflow.review", "repflow.cli", "hydra_plugins")
    library = [name for name in modules() if not name.startswith(above)]
    assert "repflow.training.loop" in library
    import_all(library, (*PIPELINE_TOOLS, *EXTRAS))


@pytest.mark.parametrize("stage", ["ingest", "validate", "split"])
def test_stages_that_learn_nothing_import_no_torch(stage: str) -> None:
    import_all([f"repflow.stages.{stage}"], ("torch", "torchvision", "lightning_fabric"))


def test_the_review_imports_no_torch() -> None:
    review = [name for name in modules() if name.startswith("repflow.review")]
    import_all(review, ("torch", "torchvision", "lightning_fabric"))


def test_few_files_lie_loose_at_the_root() -> None:
    assert len(list((SOURCE / "repflow").glob("*.py"))) <= 5


def test_modules_stay_short() -> None:
    long = {path.name: lines for path in SOURCE.rglob("*.py") if (lines := len(path.read_text().splitlines())) > 300}
    assert not long


def test_the_graph_fits_on_a_screen() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 200


def test_fingerprints_need_nothing_of_the_rest() -> None:
    found = closure({"repflow.fingerprints"}, Files(SOURCE))
    assert {name.split(".")[1] for name in found if "." in name} == {"fingerprints"}
