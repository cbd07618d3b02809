"""`repflow compare` and `repflow check`: what a reviewer asks."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Page(StrEnum):
    """How a comparison is written."""

    md = "md"
    json = "json"


class FailOn(StrEnum):
    """Which verdict gives an exit code of its own."""

    worse = "worse"


app = typer.Typer()
_REVIEW = "Review"


@app.command(rich_help_panel=_REVIEW)
def compare(
    base: Annotated[
        str, typer.Argument(help="Branch, tag, commit or experiment; several with commas, or a pattern: seeds.")
    ],
    head: Annotated[
        str | None, typer.Argument(help="The same; the working tree if not given.", show_default=False)
    ] = None,
    format: Annotated[Page, typer.Option(help="How to write the comparison.")] = Page.md,
    output: Annotated[Path | None, typer.Option(help="File to write instead of the terminal.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures of base and head, and a page with them.")
    ] = None,
    fail_on: Annotated[
        FailOn | None, typer.Option(help="End with 6 where a metric is worse by more than noise.")
    ] = None,
) -> None:
    """Say what differs between two revisions, and whether it is more than noise.

    Writes changed metrics with a verdict, the stages that changed and why, parameters, curves and confusions; reads git
    alone. Examples: `repflow compare main`, `repflow compare 'run/base-*' 'run/simclr-*'`. Example:
    `repflow compare main HEAD --fail-on worse`
    """
    from repflow.review.compare import run_compare

    run_compare(base, head, format.value, output, pictures, fail_on is FailOn.worse)


@app.command(rich_help_panel=_REVIEW)
def check(
    cache: Annotated[bool, typer.Option("--cache", help="Read every file of the cache, too.")] = False,
) -> None:
    """Say whether dvc.lock and the metrics belong to this code and these parameters.

    Writes nothing, trains nothing and needs no data. Ends with 7 where stages are out of date; with --cache it ends
    with 5 where DVC's cache lacks a file or holds a damaged one. Example: `repflow check`
    """
    from repflow.review.compare import run_check

    run_check(cache)
