"""Commands to compose parameters and to use the results of the stages."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from repflow.hardware.cpu import let_threads_sleep

PANEL = "Parameters and results"

app = typer.Typer()


class Format(StrEnum):
    """Output format of rows."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command(rich_help_panel=PANEL)
def compose(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Hydra overrides: group=choice and key=value.", show_default=False)
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget all earlier choices first.")] = False,
) -> None:
    """Keep choices, and compose params.yaml from the Hydra configuration in conf/.

    Adds the given choices to the earlier ones in conf/chosen.yaml, from which `dvc exp run`, isolated runs and the form
    start, too; checks every parameter and logs what changed. Paths need no quotes beyond the shell's. Writes
    conf/chosen.yaml and params.yaml. Example: `repflow compose pretrain=rotation split.labels_per_class=20 seed=3`
    """
    from repflow.stages import compose as stage

    stage.run(overrides or [], reset)


@app.command(rich_help_panel=PANEL)
def cost(format: Annotated[Format, typer.Option(help="Output format.")] = Format.table) -> None:
    """Print time, memory, compute and energy of the training stages.

    Writes accuracy, time, images/s, share of time waiting for data, peak memory, floating-point operations and energy
    of the stages that last ran in this checkout. Example: `repflow cost --format json`
    """
    from repflow.stages import cost_table

    cost_table.run(format.value)


@app.command(rich_help_panel=PANEL)
def export(
    output: Annotated[Path, typer.Argument(help="The ONNX file to write.", show_default=False)],
    model: Annotated[Path, typer.Option(help="Folder of a trained classifier.")] = Path("models/best"),
) -> None:
    """Export a classifier to ONNX.

    Writes the file only if ONNX Runtime gives the same probabilities as PyTorch. Needs `pip install 'repflow[export]'`.
    Example: `repflow export classifier.onnx`
    """
    let_threads_sleep()
    from repflow.stages import export as stage

    stage.run(model, output)


@app.command(rich_help_panel=PANEL)
def plan(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Measure trainings that are up to date, too.")] = False,
) -> None:
    """Estimate what each stage of the pipeline will cost on this machine, without running it.

    Writes images, steps, time, memory and disk space of every stage, and which ones DVC would run. Counts the images in
    data/splits/ or in the source, and times a few steps of each training on random images. Example: `repflow plan`
    """
    from repflow.hardware.cpu import pin
    from repflow.hardware.devices import HardwareConfig
    from repflow.stages.parameters import read

    pin(read("hardware", HardwareConfig).instructions)
    from repflow.stages import plan as stage

    stage.run(json, everything)


@app.command(rich_help_panel=PANEL)
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Image files, and folders that are searched for images.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained classifier.")] = Path("models/best"),
    format: Annotated[Format, typer.Option(help="Output format.")] = Format.table,
    top: Annotated[int, typer.Option(min=1, help="Classes per image, the most probable first.")] = 1,
    output: Annotated[Path | None, typer.Option(help="File to write to instead of the terminal.")] = None,
) -> None:
    """Predict the classes of images with a trained classifier.

    Writes path, label and probability of every image. Files that cannot be decoded are listed with the reason, and the
    exit code is then 3. Example: `repflow predict photos/ --format csv --output predictions.csv`
    """
    let_threads_sleep()
    from repflow.stages import predict as stage

    stage.run(paths, model=model, form=format.value, top=top, output=output)


@app.command(rich_help_panel=PANEL)
def suggest(
    count: Annotated[int, typer.Option(min=1, help="Number of images to suggest.")] = 50,
    model: Annotated[
        Path | None, typer.Option(help="Folder of a trained classifier. [default: models/best, or models/finetune]")
    ] = None,
) -> None:
    """Suggest which unlabelled images of the source to label next.

    Chooses images that the classifier is unsure of and that stand for many others. Writes reports/suggestions.html, a
    page to fill in the labels, and the same as reports/suggestions.csv. The page downloads labels.csv, which `ingest`
    reads beside the data. Example: `repflow suggest --count 50`
    """
    let_threads_sleep()
    from repflow.stages import suggest as stage

    stage.run(count, model)
