"""What the leaderboard measures, written to files that its DVC graph reads: `python -m zoo.compose`.

Every choice of the group `pretrain` in conf/ is an entry for every data set and seed, by being there. Beside them stand
the floor, an encoder with random weights, and the ceiling, one that was trained with all labels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from repflow.stages.compose import composed

HERE = Path(__file__).absolute().parent
CONF = HERE.parents[1] / "conf"

SEEDS = (0, 1, 2)
IMAGES = {"digits": 40_000, "mnist": 100_000, "cifar10": 100_000}
"""Data set to what every method may see of it: images, each counted as often as it is drawn."""
FLOOR, CEILING = "random_weights", "all_labels"


def main() -> None:
    """Write params.yaml here, and one for each data set that its `ingest` and `split` read."""
    settings: dict[str, dict[str, Any]] = {}
    for data in IMAGES:
        folder = HERE / data
        folder.mkdir(exist_ok=True)
        whole = compose(data)
        # The folder stands two levels below the project's root, from which conf/ counts.
        whole["data"]["root"] = str(Path("../../..") / whole["data"]["root"])
        write(folder / "params.yaml", whole)
        settings[data] = dict(methods(data))
    names = sorted({name for each in settings.values() for name in each})
    entries = {
        f"{data}-{name}-{seed}": {"data": data, "method": name, "seed": seed, "module": module(settings[data][name])}
        for data in IMAGES
        for name in names
        for seed in SEEDS
    }
    probe = {data: compose(data)["probe"] for data in IMAGES}
    write(HERE / "params.yaml", {"entries": entries, "probe": probe, "settings": settings})


def methods(data: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and section of everything that is measured on `data`, with the budget of its images."""
    yield FLOOR, budgeted({**section(data, "pretrain=rotation"), "name": FLOOR}, 0)
    yield CEILING, budgeted(section(data, "finetune=supervised", "split.labels_per_class=null"), IMAGES[data])
    for path in sorted((CONF / "pretrain").glob("*.yaml")):
        yield path.stem, budgeted(section(data, f"pretrain={path.stem}"), IMAGES[data])


def section(data: str, choice: str, *more: str) -> dict[str, Any]:
    """The section that a choice of a method composes to, with the encoder that it starts from."""
    whole = compose(data, choice, *more)
    found: dict[str, Any] = whole[choice.partition("=")[0]]
    return {**found, "encoder": found.get("encoder") or whole["encoder"], "start": "random"}


def budgeted(found: dict[str, Any], images: int) -> dict[str, Any]:
    """The section with as many steps as `images` allow, and without what looks at validation rows on the way."""
    training = {key: value for key, value in found["training"].items() if key != "early_stopping"}
    return {**found, "training": {**training, "steps": images // training["batch_size"]}}


def compose(data: str, *overrides: str) -> dict[str, Any]:
    """All parameters, for one data set."""
    whole: dict[str, Any] = yaml.safe_load(composed(CONF, [f"data={data}", *overrides]))
    return whole


def module(found: dict[str, Any]) -> str:
    """The file of a method below src/repflow, or that of its family for what is no method."""
    path = Path(found["family"], f"{found['name']}.py")
    return str(path if (CONF.parent / "src/repflow" / path).is_file() else path.parent / "__init__.py")


def write(path: Path, values: dict[str, Any]) -> None:
    """Write YAML."""
    path.write_text(yaml.safe_dump(values, sort_keys=False, width=120), encoding="utf-8")


if __name__ == "__main__":
    main()
