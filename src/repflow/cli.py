"""`repflow`: one command a stage of the graph, and commands to choose parameters and to use the result.

Every command imports what it needs when it runs, so that the help comes at once.
"""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from repflow.endings import Commands
from repflow.families import FAMILIES, read_family
from repflow.review.commands import app as review
from repflow.runs.commands import app as runs
from repflow.starting import launch, pin_instructions


class Domain(StrEnum):
    """The two sides of the graph."""

    source = "source"
    target = "target"


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    csv = "csv"
    json = "json"


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _methods(group: str, choice: str) -> str:
    """What a command's help says of the methods that a group of conf/ chooses among."""
    folders = [Path(__file__).with_name(family) for family, its_group in FAMILIES.items() if its_group == group]
    said = {name: introduction for folder in folders for name, introduction in read_family(folder).items()}
    lines = [f"- `{name}`: {introduction['about']}" for name, introduction in sorted(said.items())]
    return "\n\n".join([f"Methods, to choose with `repflow compose {group}={choice}`:", *lines])


_STAGES = "Stages of the graph (`dvc repro` runs them in their order)"
_USE = "Choose and use"


@app.callback()
def main(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log details, and show where in the code an error was raised.")
    ] = False,
) -> None:
    """Turn a pile of mostly unlabelled images into a tested classifier and a record of how it was made.

    Run `dvc repro` to make everything that is not up to date; each stage is also a command here. Exit codes: 0 done,
    1 failure, 2 a wrong parameter or option, 3 unusable data, 4 a broken validation rule, 5 storage that refuses, 6 a
    metric is worse (`compare --fail-on worse`), 7 the record is out of date (`check`), 75 stopped and saved (the same
    command goes on), 130 interrupted, 143 terminated.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("repflow").setLevel(logging.DEBUG if verbose else logging.INFO)


@app.command(rich_help_panel=_STAGES)
def ingest(domain: Annotated[Domain, typer.Argument(help="Which domain to read.", show_default=False)]) -> None:
    """Decode a domain's images once into a store.

    Reads what `data.source` or `data.target` in params.yaml names; makes data/stores/DOMAIN/. Example:
    `repflow ingest source`
    """
    from repflow.stages import ingest as stage

    stage.run(domain.value)


@app.command(rich_help_panel=_STAGES)
def validate(domain: Annotated[Domain, typer.Argument(help="Which domain to check.", show_default=False)]) -> None:
    """Check a domain's images against the rules.

    Reads data/stores/DOMAIN/; makes metrics/validate/DOMAIN.json and reports/data_docs/DOMAIN/. Ends with 4 where a
    critical rule is broken. Example: `repflow validate target`
    """
    from repflow.stages import validate as stage

    stage.run(domain.value)


@app.command(rich_help_panel=_STAGES)
def split() -> None:
    """Say of every image whether it trains, validates or tests.

    Reads the manifests in data/stores/; makes data/splits/ and metrics/split.json. Example: `repflow split`
    """
    from repflow.stages import split as stage

    stage.run()


@app.command(rich_help_panel=_STAGES, epilog=_methods("pretrain", "NAME"))
def pretrain() -> None:
    """Learn an encoder from images without labels.

    Reads data/stores/ and data/splits/; makes models/pretrain/, its curve and metrics. Example: `repflow pretrain`
    """
    launch()
    pin_instructions()
    from repflow.stages import pretrain as stage

    stage.run()


@app.command(rich_help_panel=_STAGES)
def probe() -> None:
    """Score the frozen encoder beside one with random weights.

    Reads models/pretrain/ and the data; makes metrics/probe.json. Example: `repflow probe`
    """
    pin_instructions()
    from repflow.stages import probe as stage

    stage.run()


@app.command(rich_help_panel=_STAGES)
def tune() -> None:
    """Search the settings of the fine-tuning.

    Reads models/pretrain/, labelled and validation rows; makes models/tune/ and pictures of the search. A search that
    was killed goes on where it stopped. Example: `repflow tune`
    """
    pin_instructions()
    from repflow.stages import tune as stage

    stage.run()


@app.command(rich_help_panel=_STAGES, epilog=_methods("finetune", "NAME"))
def finetune() -> None:
    """Train the classifier with few labels.

    Reads models/pretrain/, models/tune/best.yaml and the data; makes models/finetune/, its curve and metrics. Example:
    `repflow finetune`
    """
    launch()
    pin_instructions()
    from repflow.stages import finetune as stage

    stage.run()


@app.command(rich_help_panel=_STAGES, epilog=_methods("adapt", "[NAME,NAME]"))
def adapt(
    method: Annotated[str, typer.Argument(help="A key of `adapt` in params.yaml, such as dann.", show_default=False)],
) -> None:
    """Train a classifier for the target domain, whose labels are not seen.

    Reads models/pretrain/ and the data of both domains; makes models/adapt/METHOD/, its curve and metrics. Example:
    `repflow adapt dann`
    """
    launch()
    pin_instructions()
    from repflow.stages import adapt as stage

    stage.run(method)


@app.command(rich_help_panel=_STAGES)
def evaluate() -> None:
    """Test every model once on the test rows.

    Reads the models and the data; makes metrics/evaluate.json and confusion matrices in plots/. Example:
    `repflow evaluate`
    """
    pin_instructions()
    from repflow.stages import evaluate as stage

    stage.run()


@app.command(rich_help_panel=_STAGES)
def report() -> None:
    """Put metrics, curves and pictures on one page.

    Reads metrics/, plots/, models/ and the data; makes reports/report.md and report.html. Example: `repflow report`
    """
    pin_instructions()
    from repflow.stages import report as stage

    stage.run()


@app.command(rich_help_panel=_USE)
def compose(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="group=choice and key=value, as Hydra takes them.", show_default=False)
    ] = None,
) -> None:
    """Write params.yaml from the choices in conf/.

    Starts from the defaults in conf/config.yaml each time, checks every parameter and says what changed. Example:
    `repflow compose pretrain=rotation split.labels_per_class=20 seed=3`
    """
    from repflow.stages import compose as stage

    stage.run(overrides or [])


app.add_typer(runs, name="runs", rich_help_panel=_USE)


@app.command(rich_help_panel=_USE)
def cost(format: Annotated[Format, typer.Option(help="How to write the rows.")] = Format.table) -> None:
    """Show what the trainings cost here.

    Writes accuracy, time, images/s, share of time waiting for data, peak memory, floating-point operations and energy
    of the stages that last ran on this machine. Example: `repflow cost --format json`
    """
    from repflow.stages import cost_table

    cost_table.run(format.value)


@app.command(rich_help_panel=_USE)
def export(
    output: Annotated[Path, typer.Argument(help="The ONNX file to write.", show_default=False)],
    model: Annotated[Path, typer.Option(help="Folder of a trained classifier.")] = Path("models/finetune"),
) -> None:
    """Write a classifier as ONNX, for programs without PyTorch.

    Compares ONNX Runtime's probabilities with PyTorch's before anything is written. Needs the extra `repflow[export]`.
    Example: `repflow export classifier.onnx`
    """
    from repflow.stages import export as stage

    stage.run(model, output)


@app.command(rich_help_panel=_USE)
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Images, and folders that are searched for images.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained classifier.")] = Path("models/finetune"),
    format: Annotated[Format, typer.Option(help="How to write the predictions.")] = Format.table,
    top: Annotated[int, typer.Option(min=1, help="How many classes to give for each image, the likeliest first.")] = 1,
    output: Annotated[Path | None, typer.Option(help="File to write instead of the terminal.")] = None,
) -> None:
    """Say what images show.

    Writes path, label and probability. Files that cannot be read are listed with the reason, the others are predicted,
    and the command then ends with 3. Example: `repflow predict photos/ --format csv --output labels.csv`
    """
    from repflow.stages import predict as stage

    stage.run(paths, model=model, form=format.value, top=top, output=output)


app.add_typer(review)
