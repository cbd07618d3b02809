"""Write the settings of all leaderboard entries to files for its DVC pipeline: `python -m zoo.compose`.

Every choice of the group `pretrain` in conf/ is an entry for every data set and random seed. The others are the
baselines: encoders with random weights, and one that is trained with all labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from repflow.files import writing
from repflow.stages.compose import composed
from zoo import CEILING, FLOOR, HERE, LONG, floor_of

CONF = HERE.parents[1] / "conf"

SEEDS = (0, 1, 2)
IMAGES = {"digits": 40_000, "mnist": 100_000, "cifar10": 100_000, f"cifar10{LONG}": 1_000_000}
"""Leaderboard to the training budget of every method: number of images, each counted as often as it is used."""


def main() -> None:
    """Write params.yaml here, DATA/params.yaml that `ingest` and `split` read, and settings/DATA/METHOD.yaml."""
    names: set[str] = set()
    for data, images in IMAGES.items():
        whole = compose(data.removesuffix(LONG))
        for name, section in sections(whole, images):
            write(HERE / "settings" / data / f"{name}.yaml", {"method": section, "probe": whole["probe"]})
            names.add(name)
        if data.endswith(LONG):
            continue
        # The folder is two levels below the project's root, which paths in conf/ are relative to.
        whole["data"]["root"] = str(Path("../../..") / whole["data"]["root"])
        del whole["data"]["reads"]  # what the project's graph watches; dvc.yaml here names the files itself
        write(HERE / data / "params.yaml", {key: value for key, value in whole.items() if key != "zoo"})
    for stale in [path for path in HERE.glob("settings/*/*.yaml") if path.stem not in names]:
        stale.unlink()
    short = [data for data in IMAGES if not data.endswith(LONG)]
    write(HERE / "params.yaml", {"data": short, "methods": sorted(names), "seeds": list(SEEDS)})


def compose(data: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """All parameters for one data set, and below `zoo` the section of every entry; `changes` are further overrides."""
    choices = {path.stem: f"pretrain@zoo.{path.stem}={path.stem}" for path in (CONF / "pretrain").glob("*.yaml")}
    choices |= {FLOOR: f"pretrain@zoo.{FLOOR}=rotation", CEILING: f"finetune@zoo.{CEILING}=supervised"}
    added = [f"+{choices[name]}" for name in sorted(choices)]
    # The images that the methods are trained on do not depend on a label budget: validation is beside it.
    chosen = [f"data={data}", "encoder=small", "hardware=cpu", "split.validation_within_budget=false", *added, *changes]
    whole: dict[str, Any] = yaml.safe_load(composed(CONF, chosen))
    whole["zoo"][FLOOR]["name"] = FLOOR
    return whole


def sections(whole: Mapping[str, Any], images: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and section of every entry, with its training budget and its encoder."""
    for name, found in whole["zoo"].items():
        start = {"encoder": found.get("encoder") or whole["encoder"], "start": "random"}
        yield name, budgeted({**found, **start}, 0 if name == FLOOR else images)
        if found.get("encoder"):
            own = floor_of(name)
            yield own, budgeted({**whole["zoo"][FLOOR], **start, "name": own}, 0)


def budgeted(found: dict[str, Any], images: int) -> dict[str, Any]:
    """The section with as many steps as the budget of `images` allows, and without early stopping."""
    training = {key: value for key, value in found["training"].items() if key not in ("early_stopping", "share")}
    training["steps"] = images // training["batch_size"]
    return {**found, "training": training}


def write(path: Path, values: dict[str, Any]) -> None:
    """Write YAML atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as fresh:
        fresh.write_text(yaml.safe_dump(values, sort_keys=False, width=120), encoding="utf-8")


if __name__ == "__main__":
    main()
