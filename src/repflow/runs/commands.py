"""`repflow runs`: runs beside the checkout, each on a branch of its own."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=False)


@app.callback(invoke_without_command=True)
def runs(context: typer.Context) -> None:
    """List runs beside this checkout, start one, take some away.

    A run works in a git worktree of its own, shares the DVC cache and commits its parameters, metrics and plots on the
    branch run/NAME. Look at one with `git diff main run/NAME` or `dvc metrics diff main run/NAME`.
    """
    if context.invoked_subcommand is not None:
        return
    from repflow.runs.listing import list_runs

    rows = [("run", "state", "committed", "what"), *((r.name, r.state, r.when, r.about) for r in list_runs(Path.cwd()))]
    if len(rows) == 1:
        typer.echo("no runs; `repflow runs start group=choice` makes one")
        return
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        typer.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip())


@app.command()
def start(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="group=choice and key=value, as `repflow compose` takes them.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the run; made from the choices where it is left out.")] = "",
    push: Annotated[bool, typer.Option("--push", help="Push the branch and the cache when it is done.")] = False,
) -> None:
    """Run the whole graph with other choices, beside this checkout.

    A run that was stopped goes on when it is started again. Example: `repflow runs start pretrain=rotation seed=3`
    """
    from repflow.runs.start import start as begin

    typer.echo(begin(Path.cwd(), overrides or [], name, push))


@app.command()
def prune(
    names: Annotated[list[str] | None, typer.Argument(help="Runs to take away.", show_default=False)] = None,
    finished: Annotated[bool, typer.Option("--finished", help="All that are finished, too.")] = False,
    stopped: Annotated[bool, typer.Option("--stopped", help="All that were stopped, too.")] = False,
    keep_branch: Annotated[bool, typer.Option("--keep-branch", help="Leave what they committed.")] = False,
) -> None:
    """Take runs away: worktree and branch.

    What they put into the DVC cache stays until `dvc gc`. Example: `repflow runs prune --stopped`
    """
    from repflow.runs.listing import State
    from repflow.runs.listing import prune as take_away

    chosen: list[tuple[bool, State]] = [(finished, "finished"), (stopped, "stopped")]
    states = [state for wanted, state in chosen if wanted]
    lines = list(take_away(Path.cwd(), names or [], states, keep_branch))
    for line in lines or ["nothing to take away; name runs, or say --finished or --stopped"]:
        typer.echo(line)
