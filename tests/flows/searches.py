"""A flow whose trials run on Dask, in a module that workers import by name."""

from pathlib import Path
from typing import Any

from prefect import flow

from repflow.stages.searching.study import Search
from trials import DaskTrials, task_runner


def on_dask(folder: Path, objectives: Any, prepare: Any, place: Any) -> Any:
    """The trials of a search with two Dask workers."""
    runner: Any = task_runner(folder, 2)
    return _on_dask.with_options(task_runner=runner)(folder, objectives.__name__, prepare, place)


@flow(name="trials", validate_parameters=False)
def _on_dask(folder: Path, objectives: str, prepare: Any, place: Any) -> Any:
    import importlib

    known = importlib.import_module(objectives)
    return Search(known.CONFIG, known.SPACE, known.DEFAULT, 0, place).run(DaskTrials(folder, prepare))
