"""The command `repflow`: pipeline stages, and commands to compose parameters, use results and review changes.

Every command imports what it needs when it runs, so that the help is fast.
"""

import logging
import sys
from typing import Annotated

import typer

from repflow.cli import stages, use
from repflow.cli.exit_codes import Commands
from repflow.review.commands import app as review
from repflow.runs.commands import app as runs

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(stages.app)
app.add_typer(use.app)
app.add_typer(runs, name="runs", rich_help_panel=use.PANEL)
app.add_typer(review)


@app.callback()
def main(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log details, and print tracebacks of errors.")
    ] = False,
) -> None:
    """Train and test an image classifier from mostly unlabelled images, as a versioned DVC pipeline.

    `dvc repro` runs every stage that is out of date; each stage is also a command here. Exit codes: 0 success,
    1 failure, 2 invalid parameter or option, 3 unusable data, 4 data validation failed, 5 storage error (disk full or
    no permission), 6 a metric is worse (`compare --fail-on worse`), 7 results are out of date (`check`), 8 the code
    changed while a stage ran, 75 stopped after saving a checkpoint (run the same command to resume), 130 interrupted,
    143 terminated.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("repflow").setLevel(logging.DEBUG if verbose else logging.INFO)
