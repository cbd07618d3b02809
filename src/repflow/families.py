"""The families of methods, and their methods: each is there by having a module in its family's folder."""

from pathlib import Path

from repflow.introductions import read_introduction

FAMILIES = {"pretext": "pretrain", "clustering": "pretrain", "semisup": "finetune", "adaptation": "adapt"}
"""Folder of modules to the group of conf/ that chooses among them."""


def read_family(folder: Path) -> dict[str, dict[str, str]]:
    """Name of each module in a family's folder to what `read_introduction` reads there, in the order of the names."""
    modules = sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
    return {module.stem: read_introduction(module) for module in modules}
