"""Commands to choose parameters and to use what the stages made."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from repflow.hardware.cpu import let_threads_sleep

PANEL = "Choose and use"

app = typer.Typer()


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command(rich_help_panel=PANEL)
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


@app.command(rich_help_panel=PANEL)
def cost(format: Annotated[Format, typer.Option(help="How to write the rows.")] = Format.table) -> None:
    """Show what the trainings cost here.

    Writes accuracy, time, images/s, share of time waiting for data, peak memory, floating-point operations and energy
    of the stages that last ran on this machine. Example: `repflow cost --format json`
    """
    from repflow.stages import cost_table

    cost_table.run(format.value)


@app.command(rich_help_panel=PANEL)
def export(
    output: Annotated[Path, typer.Argument(help="The ONNX file to write.", show_default=False)],
    model: Annotated[Path, typer.Option(help="Folder of a trained classifier.")] = Path("models/finetune"),
) -> None:
    """Write a classifier as ONNX, for programs without PyTorch.

    Compares ONNX Runtime's probabilities with PyTorch's before anything is written. Needs the extra `repflow[export]`.
    Example: `repflow export classifier.onnx`
    """
    let_threads_sleep()
    from repflow.stages import export as stage

    stage.run(model, output)


@app.command(rich_help_panel=PANEL)
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
    let_threads_sleep()
    from repflow.stages import predict as stage

    stage.run(paths, model=model, form=format.value, top=top, output=output)
