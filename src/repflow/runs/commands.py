"""The commands `repflow runs`: isolated runs, each in its own git worktree and on its own branch."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=False)


@app.callback(invoke_without_command=True)
def runs(context: typer.Context) -> None:
    """List isolated runs; start or delete them.

    An isolated run has its own git worktree, shares the DVC cache with this checkout, and commits its parameters,
    metrics and plots to the branch run/NAME. Compare one with `repflow compare main run/NAME`, `git diff main run/NAME`
    or `dvc metrics diff main run/NAME`.
    """
    if context.invoked_subcommand is not None:
        return
    from repflow.runs.listing import list_runs

    rows = [
        ("run", "state", "committed", "description"),
        *((r.name, r.state, r.when, r.about) for r in list_runs(Path.cwd())),
    ]
    if len(rows) == 1:
        typer.echo("no runs; start one with `repflow runs start group=choice`")
        return
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        typer.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip())


@app.command()
def start(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Hydra overrides, group=choice and key=value, as for `repflow compose`.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the run; by default it is made from the overrides.")] = "",
    push: Annotated[bool, typer.Option("--push", help="Push the branch and the DVC cache when it is done.")] = False,
) -> None:
    """Run the whole pipeline with other parameters, without changing this checkout.

    A stopped run resumes when it is started again. Example: `repflow runs start pretrain=rotation seed=3`
    """
    from repflow.runs.start import start as begin

    typer.echo(begin(Path.cwd(), overrides or [], name, push))


@app.command()
def prune(
    names: Annotated[list[str] | None, typer.Argument(help="Names of runs to delete.", show_default=False)] = None,
    finished: Annotated[bool, typer.Option("--finished", help="Also delete all finished runs.")] = False,
    stopped: Annotated[bool, typer.Option("--stopped", help="Also delete all stopped runs.")] = False,
    keep_branch: Annotated[bool, typer.Option("--keep-branch", help="Keep the branches with their commits.")] = False,
) -> None:
    """Delete runs: their worktrees and branches.

    Their files in the DVC cache stay until `dvc gc`. Example: `repflow runs prune --stopped`
    """
    from repflow.runs.listing import State
    from repflow.runs.listing import prune as remove_runs

    chosen: list[tuple[bool, State]] = [(finished, "finished"), (stopped, "stopped")]
    states = [state for wanted, state in chosen if wanted]
    lines = list(remove_runs(Path.cwd(), names or [], states, keep_branch))
    for line in lines or ["nothing to delete; give names of runs, --finished or --stopped"]:
        typer.echo(line)
