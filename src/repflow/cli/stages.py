"""The commands `repflow STAGE`, one per stage of the pipeline."""

import importlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repflow import methods
from repflow.hardware.launch import hand_over
from repflow.methods.descriptions import read_family
from repflow.methods.registry import FAMILIES

if TYPE_CHECKING:
    from repflow.hardware.cpu import Instructions

PANEL = "Stages of the pipeline (`dvc repro` runs them in order)"

app = typer.Typer()


class Domain(StrEnum):
    """The two domains of the data."""

    source = "source"
    target = "target"


def _methods(group: str, choice: str) -> str:
    """The paragraph of a command's help that lists the methods of a group of conf/."""
    folders = [Path(methods.__path__[0]) / family for family, its_group in FAMILIES.items() if its_group == group]
    found = {name: described for folder in folders for name, described in read_family(folder).items()}
    lines = [f"- `{name}`: {described['about']}" for name, described in sorted(found.items())]
    return "\n\n".join([f"Methods, selected with `repflow compose {group}={choice}`:", *lines])


def run_stage(stage: str, *arguments: str, trains: bool = False) -> None:
    """Run a stage, after the settings that must be made before the numerical libraries are imported.

    Args:
        stage: name of the stage and of its module in `repflow.stages`.
        arguments: arguments of the module's `run`: the domain, or the key below `adapt`.
        trains: whether the stage can train on several devices, with one process each.
    """
    from repflow.hardware.cpu import pin
    from repflow.stages.code import same_code
    from repflow.stages.composing.announcement import announce_once

    announce_once()
    if trains:
        hand_over()
    pin(_instructions(stage))
    with same_code("/".join([stage, *arguments]) if stage == "adapt" else stage):
        importlib.import_module(f"repflow.stages.{stage}").run(*arguments)


def _instructions(stage: str) -> "Instructions":
    """The CPU instructions that a stage may use; the data stages do not depend on the parameter `hardware`."""
    from repflow.hardware.devices import HardwareConfig
    from repflow.stages.parameters import read

    return "avx2" if stage in ("ingest", "validate", "split") else read("hardware", HardwareConfig).instructions


@app.command(rich_help_panel=PANEL)
def code() -> None:
    """Fingerprint the code of every stage, so that only stages with changed code run again.

    Reads src/repflow/ and the methods selected in params.yaml; writes code/. A stage ends with exit code 8 if its code
    differs from code/, or changes while it runs. Example: `repflow code`
    """
    from repflow.stages import code as stage
    from repflow.stages.composing.announcement import announce_once

    announce_once()
    stage.run()


@app.command(rich_help_panel=PANEL)
def ingest(domain: Annotated[Domain, typer.Argument(help="Domain to ingest.", show_default=False)]) -> None:
    """Decode all images of a domain into an image store.

    Reads the images of `data.source` or `data.target` in params.yaml; writes data/stores/DOMAIN/. Example:
    `repflow ingest source`
    """
    run_stage("ingest", domain.value)


@app.command(rich_help_panel=PANEL)
def validate(domain: Annotated[Domain, typer.Argument(help="Domain to validate.", show_default=False)]) -> None:
    """Validate the images of a domain with Great Expectations.

    Reads data/stores/DOMAIN/; writes metrics/validate/DOMAIN.json and reports/data_docs/DOMAIN/. Exit code 4 if a
    critical rule is violated. Example: `repflow validate target`
    """
    run_stage("validate", domain.value)


@app.command(rich_help_panel=PANEL)
def split() -> None:
    """Split the images into labelled, unlabelled, validation and test rows.

    Reads the manifests in data/stores/; writes data/splits/ and metrics/split.json. Example: `repflow split`
    """
    run_stage("split")


@app.command(rich_help_panel=PANEL)
def baseline() -> None:
    """Fit logistic regression on pixels and on oriented gradients, which every trained model has to beat.

    Reads the labelled and the validation rows of the source; writes models/baseline/ and metrics/baseline.json.
    Example: `repflow baseline`
    """
    run_stage("baseline")


@app.command(rich_help_panel=PANEL, epilog=_methods("pretrain", "NAME"))
def pretrain() -> None:
    """Pretrain an encoder on images without labels.

    Reads data/stores/ and data/splits/; writes models/pretrain/, training curves, image grids and metrics. Example:
    `repflow pretrain`
    """
    run_stage("pretrain", trains=True)


@app.command(rich_help_panel=PANEL)
def probe() -> None:
    """Evaluate the frozen encoder with a linear probe, kNN and clustering.

    Reads models/pretrain/ and the data; writes models/probe/, the probes as classifiers, and metrics/probe.json.
    Example: `repflow probe`
    """
    run_stage("probe")


@app.command(rich_help_panel=PANEL)
def tune() -> None:
    """Search hyperparameters of the fine-tuning with Optuna.

    Reads models/pretrain/, labelled and validation rows; writes models/tune/, metrics/tune.json and plots/tune/. An
    interrupted search resumes. Example: `repflow tune`
    """
    run_stage("tune")


@app.command(rich_help_panel=PANEL, epilog=_methods("finetune", "NAME"))
def finetune() -> None:
    """Fine-tune the encoder to a classifier with few labels.

    Reads models/pretrain/, models/tune/best.yaml and the data; writes models/finetune/, training curves and metrics.
    Example: `repflow finetune`
    """
    run_stage("finetune", trains=True)


@app.command(rich_help_panel=PANEL, epilog=_methods("adapt", "[NAME,NAME]"))
def adapt(
    method: Annotated[str, typer.Argument(help="Key below `adapt` in params.yaml, such as dann.", show_default=False)],
) -> None:
    """Train a classifier for the unlabelled target domain (domain adaptation).

    Reads models/pretrain/ and the data of both domains; writes models/adapt/METHOD/, training curves and metrics.
    Example: `repflow adapt dann`
    """
    run_stage("adapt", method, trains=True)


@app.command(rich_help_panel=PANEL)
def evaluate() -> None:
    """Test every classifier on the test set of each domain.

    Reads the models and the data; writes metrics/evaluate.json, and confusion matrices, recall and calibration in
    plots/. Example: `repflow evaluate`
    """
    run_stage("evaluate")


@app.command(rich_help_panel=PANEL)
def select() -> None:
    """Choose the best classifier, or a combination of some, by the validation images of the source.

    Reads models/baseline/, probe/, finetune/ and adapt/, and the data; writes models/best/, which `repflow predict` and
    `repflow export` take, with a model card, and metrics/select.json. Example: `repflow select`
    """
    run_stage("select")


@app.command(rich_help_panel=PANEL)
def report() -> None:
    """Write a report with metrics, training curves and figures.

    Reads metrics/, plots/, models/ and the data; writes reports/report.md, report.html and figures/. Example:
    `repflow report`
    """
    run_stage("report")
