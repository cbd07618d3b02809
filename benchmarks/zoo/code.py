"""The code that each stage of the leaderboard runs: `python -m zoo.code` writes code/NAME.json, module to digest.

NAME is "prepare", "classical" or a method, and a training depends on its method's file. So a changed module retrains
the methods that run it and no other, and a new method is trained alone. Comments, docstrings and layout do not count.
"""

import json
from pathlib import Path

import yaml

from repflow.files import writing
from repflow.fingerprints import Files, fingerprint
from repflow.methods.registry import modules_in
from zoo import HERE

PREPARE = {"repflow.stages.ingest", "repflow.stages.split"}
CLASSICAL = {"zoo.classical"}
SOURCE = Files(HERE.parents[1] / "src", HERE.parent)


def main() -> None:
    """Write a file for the data, and one for everything that has settings."""
    for name, modules in {"prepare": PREPARE, "classical": CLASSICAL, **roots(HERE / "settings")}.items():
        path = HERE / "code" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        with writing(path) as fresh:
            fresh.write_text(json.dumps(code_of(modules), indent=2) + "\n", encoding="utf-8")


def code_of(modules: set[str]) -> dict[str, str]:
    """The fingerprint of what importing `modules` runs, without the settings and results that lie in this package."""
    return {name: digest for name, digest in fingerprint(modules, SOURCE).items() if not name.startswith("zoo/")}


def roots(settings: Path) -> dict[str, set[str]]:
    """Name to the modules that it starts from, of everything that has settings for a data set."""
    found: dict[str, set[str]] = {}
    for path in sorted(settings.glob("*/*.yaml")):
        section = yaml.safe_load(path.read_text(encoding="utf-8"))["method"]
        found.setdefault(path.stem, {"zoo.learn"}).update(modules_in(section))
    return found


if __name__ == "__main__":
    main()
