"""The commands `repflow compare` and `repflow check`, for reviewers."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Page(StrEnum):
    """Output format of a comparison."""

    md = "md"
    json = "json"


class FailOn(StrEnum):
    """Which assessment of a metric leads to exit code 6."""

    worse = "worse"


app = typer.Typer()
_REVIEW = "Review"


@app.command(rich_help_panel=_REVIEW)
def compare(
    base: Annotated[
        str,
        typer.Argument(
            help="Branch, tag, commit or DVC experiment; several seeds of one setting: separated by commas, or a glob."
        ),
    ],
    head: Annotated[
        str | None,
        typer.Argument(help="Revision(s) to compare with it; default: the working tree.", show_default=False),
    ] = None,
    format: Annotated[Page, typer.Option(help="Output format.")] = Page.md,
    output: Annotated[Path | None, typer.Option(help="File to write to instead of the terminal.")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for figures of base and head, and a Markdown page with them.")
    ] = None,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit code 6 if a metric is significantly worse.")] = None,
) -> None:
    """Compare two revisions: metrics with their significance, stages, parameters, curves.

    Writes changed metrics with confidence intervals, changed stages and why they changed, changed parameters, training
    curves and confusion matrices. Reads only git, no data. To compare several seeds:
    `repflow compare 'run/base-*' 'run/simclr-*'`. Example: `repflow compare main HEAD --fail-on worse`
    """
    from repflow.review.compare import run_compare

    run_compare(base, head, format.value, output, figures, fail_on is FailOn.worse)


@app.command(rich_help_panel=_REVIEW)
def check(
    cache: Annotated[bool, typer.Option("--cache", help="Also verify every file in DVC's cache.")] = False,
) -> None:
    """Check that dvc.lock and the metrics match the code and parameters.

    Writes nothing, trains nothing and needs no data. Exit code 7 if stages are out of date; with --cache, exit code 5
    if a file in DVC's cache is missing or damaged. Example: `repflow check`
    """
    from repflow.review.compare import run_check

    run_check(cache)
