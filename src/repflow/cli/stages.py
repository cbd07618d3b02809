"""`repflow STAGE`: one command per stage of the graph."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from repflow import methods
from repflow.hardware.launch import hand_over
from repflow.methods.registry import FAMILIES, read_family

PANEL = "Stages of the graph (`dvc repro` runs them in their order)"

app = typer.Typer()


class Domain(StrEnum):
    """The two sides of the graph."""

    source = "source"
    target = "target"


def _methods(group: str, choice: str) -> str:
    """The paragraph of a command's help that lists the methods of a group of conf/."""
    folders = [Path(methods.__path__[0]) / family for family, its_group in FAMILIES.items() if its_group == group]
    found = {name: described for folder in folders for name, described in read_family(folder).items()}
    lines = [f"- `{name}`: {described['about']}" for name, described in sorted(found.items())]
    return "\n\n".join([f"Methods, to choose with `repflow compose {group}={choice}`:", *lines])


def prepare_training() -> None:
    """What a training needs before PyTorch is imported: its launcher, if any, then the pinned CPU settings."""
    hand_over()
    prepare_numerics()


def prepare_numerics() -> None:
    """Pin what the numerical libraries choose by the CPU, as params.yaml says, before any of them is imported."""
    from repflow.hardware.cpu import pin
    from repflow.hardware.devices import HardwareConfig
    from repflow.stages.parameters import read

    pin(read("hardware", HardwareConfig).instructions)


@app.command(rich_help_panel=PANEL)
def ingest(domain: Annotated[Domain, typer.Argument(help="Which domain to read.", show_default=False)]) -> None:
    """Decode a domain's images once into a store.

    Reads what `data.source` or `data.target` in params.yaml names; makes data/stores/DOMAIN/. Example:
    `repflow ingest source`
    """
    from repflow.stages import ingest as stage

    stage.run(domain.value)


@app.command(rich_help_panel=PANEL)
def validate(domain: Annotated[Domain, typer.Argument(help="Which domain to check.", show_default=False)]) -> None:
    """Check a domain's images against the rules.

    Reads data/stores/DOMAIN/; makes metrics/validate/DOMAIN.json and reports/data_docs/DOMAIN/. Ends with 4 where a
    critical rule is broken. Example: `repflow validate target`
    """
    from repflow.stages import validate as stage

    stage.run(domain.value)


@app.command(rich_help_panel=PANEL)
def split() -> None:
    """Say of every image whether it trains, validates or tests.

    Reads the manifests in data/stores/; makes data/splits/ and metrics/split.json. Example: `repflow split`
    """
    from repflow.stages import split as stage

    stage.run()


@app.command(rich_help_panel=PANEL, epilog=_methods("pretrain", "NAME"))
def pretrain() -> None:
    """Learn an encoder from images without labels.

    Reads data/stores/ and data/splits/; makes models/pretrain/, its curve and metrics. Example: `repflow pretrain`
    """
    prepare_training()
    from repflow.stages import pretrain as stage

    stage.run()


@app.command(rich_help_panel=PANEL)
def probe() -> None:
    """Score the frozen encoder beside one with random weights.

    Reads models/pretrain/ and the data; makes metrics/probe.json. Example: `repflow probe`
    """
    prepare_numerics()
    from repflow.stages import probe as stage

    stage.run()


@app.command(rich_help_panel=PANEL)
def tune() -> None:
    """Search the settings of the fine-tuning.

    Reads models/pretrain/, labelled and validation rows; makes models/tune/ and pictures of the search. A search that
    was killed goes on where it stopped. Example: `repflow tune`
    """
    prepare_numerics()
    from repflow.stages import tune as stage

    stage.run()


@app.command(rich_help_panel=PANEL, epilog=_methods("finetune", "NAME"))
def finetune() -> None:
    """Train the classifier with few labels.

    Reads models/pretrain/, models/tune/best.yaml and the data; makes models/finetune/, its curve and metrics. Example:
    `repflow finetune`
    """
    prepare_training()
    from repflow.stages import finetune as stage

    stage.run()


@app.command(rich_help_panel=PANEL, epilog=_methods("adapt", "[NAME,NAME]"))
def adapt(
    method: Annotated[str, typer.Argument(help="A key of `adapt` in params.yaml, such as dann.", show_default=False)],
) -> None:
    """Train a classifier for the target domain, whose labels are not seen.

    Reads models/pretrain/ and the data of both domains; makes models/adapt/METHOD/, its curve and metrics. Example:
    `repflow adapt dann`
    """
    prepare_training()
    from repflow.stages import adapt as stage

    stage.run(method)


@app.command(rich_help_panel=PANEL)
def evaluate() -> None:
    """Test every model once on the test rows.

    Reads the models and the data; makes metrics/evaluate.json and confusion matrices in plots/. Example:
    `repflow evaluate`
    """
    prepare_numerics()
    from repflow.stages import evaluate as stage

    stage.run()


@app.command(rich_help_panel=PANEL)
def report() -> None:
    """Put metrics, curves and pictures on one page.

    Reads metrics/, plots/, models/ and the data; makes reports/report.md and report.html. Example: `repflow report`
    """
    prepare_numerics()
    from repflow.stages import report as stage

    stage.run()
