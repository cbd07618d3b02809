"""`repflow`: the stages of the graph, and commands to choose parameters, to use results and to review changes.

Every command imports what it needs when it runs, so that the help appears at once.
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
        bool, typer.Option("--verbose", "-v", help="Log details, and show where in the code an error was raised.")
    ] = False,
) -> None:
    """Turn a pile of mostly unlabelled images into a tested classifier and a record of how it was made.

    Run `dvc repro` to make everything that is not up to date; each stage is also a command here. Exit codes: 0 done,
    1 failure, 2 a wrong parameter or option, 3 unusable data, 4 a broken validation rule, 5 storage that refuses, 6 a
    metric is worse (`compare --fail-on worse`), 7 the record is out of date (`check`), 8 code changed while a stage
    ran, 75 stopped and saved (the same
    command goes on), 130 interrupted, 143 terminated.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("repflow").setLevel(logging.DEBUG if verbose else logging.INFO)
