"""The stage `tune`: hyperparameter search for the fine-tuning, by accuracy on the validation split of the source."""

import contextlib
import csv
import dataclasses
import functools
import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from repflow import fingerprints
from repflow.data.read.rows import Domain, Side
from repflow.errors import DataError
from repflow.files import writing
from repflow.fingerprints import Files
from repflow.hardware.cpu import usable_cores
from repflow.methods.registry import modules_in
from repflow.randomness.seeds import derive_seed
from repflow.stages import paths
from repflow.stages.cost import recorded
from repflow.stages.learning import Recipe, read_recipe, within_budget_of
from repflow.stages.parameters import read, read_all, read_raw
from repflow.stages.project import open_project_domain, write_metrics
from repflow.stages.searching.config import FurtherScore, SearchConfig, TuneConfig
from repflow.stages.searching.figures import draw_history, draw_importance
from repflow.stages.searching.journal import exclusive_folder
from repflow.stages.searching.objectives import accuracy, best_trial, pareto_front
from repflow.stages.searching.space import Point, Space, check_space, read_space
from repflow.stages.searching.study import Search
from repflow.stages.searching.trial import prepare_trials, shortened
from repflow.stages.searching.workers import Evaluate, Runner, Workers

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from repflow.training.cost import Cost

log = logging.getLogger("repflow")


def local_workers(config: TuneConfig) -> Workers:
    """Worker processes on this machine that run the trials."""
    return Workers(count_workers(config), trial_preparation(config))


def trial_preparation(config: TuneConfig) -> Callable[[], Evaluate]:
    """The function that a worker process calls once before it runs trials; importable wherever repflow is installed."""
    return functools.partial(prepare_trials, config.search)


def run(
    runner: Callable[[TuneConfig], contextlib.AbstractContextManager[Runner]] = local_workers,
    database: str | None = None,
) -> None:
    """Read the pretrained encoder and the source's rows; write `models/tune/`, `plots/tune/` and the metrics.

    Args:
        runner: returns a context manager with what runs the trials; the outcome does not depend on it.
        database: URL of a database for finished trials, as "postgresql://..."; None for a journal file.
    """
    config = read("tune", TuneConfig)
    recipe = read_recipe("finetune")
    space, default = read_search_space(config.search, recipe)
    source = open_project_domain("source")
    if not source.labels_on(Side.VALIDATION):
        raise DataError("tune: the source has no validation rows; raise split.validation, or disable it with tune=off")
    if config.search.trials:
        log.info("tune: %d trials of at most %s", config.search.trials, trial_of(recipe, config.search, source).size)
    with recorded("tune") as meter, exclusive_folder(paths.STATE / "tune" / fingerprint(config.search)) as folder:
        journal = folder / "journal.log"
        search = Search(config.search, space, default, recipe.seed, database or journal, meter, name=folder.name)
        with runner(config) as workers:
            trials = search.run(workers)
        write_outputs(trials, space, config.search, recipe.seed, meter.cost())
        if journal.exists():
            os.replace(journal, folder.with_name("last.log"))
        shutil.rmtree(folder)


def trial_of(recipe: Recipe, config: SearchConfig, source: Domain) -> Recipe:
    """The recipe of a trial that keeps the values of the section `finetune`."""
    channels, size = source.store.images.shape[1:3]
    return shortened(within_budget_of(recipe, "finetune", source.labels_on(Side.LABELLED), channels, size), config)


def read_search_space(config: SearchConfig, recipe: Recipe) -> tuple[Space, Point]:
    """The search space, checked against the section `finetune`, and the section's own values as a point of it.

    Raises:
        ParameterError: the space is malformed, or does not match the section.
    """
    where = f"{paths.PARAMETERS}: tune.search.space"
    space = read_space(config.space, where)
    section = {**dataclasses.asdict(recipe.section), "settings": dataclasses.asdict(recipe.settings)}
    return space, check_space(space, section, lambda point: read_recipe("finetune", point), where)


def count_workers(config: TuneConfig) -> int:
    """The number of worker processes: `tune.workers`, or what the CPU cores allow; at most one per trial of a batch."""
    wanted = config.workers or max(1, usable_cores() // max(1, config.search.threads))
    return min(wanted, config.search.batch)


def fingerprint(config: SearchConfig) -> str:
    """A hash of everything that the result depends on: parameters, data, the encoder and the code.

    An interrupted search resumes only if none of them has changed.
    """
    sections = ("seed", "encoder", "hardware", "finetune")
    parameters = {"search": dataclasses.asdict(config), **{section: read_raw(section) for section in sections}}
    parameters["budget"] = read_all().get("budget")
    digest = hashlib.blake2b(json.dumps(parameters, sort_keys=True).encode(), digest_size=16)
    code = fingerprints.fingerprint({"repflow.stages.tune", *modules_in(read_raw("finetune"))}, Files(paths.SOURCE))
    digest.update(json.dumps(code).encode())
    inputs = [paths.MODELS / "pretrain", paths.SPLITS / "source.parquet", paths.SPLITS / "classes.json"]
    for path in _files(*inputs, paths.STORES / "source"):
        digest.update(path.name.encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _files(*places: Path) -> Iterable[Path]:
    for place in places:
        yield from sorted(place.rglob("*")) if place.is_dir() else [place]


def write_outputs(trials: "Sequence[FrozenTrial]", space: Space, config: SearchConfig, seed: int, cost: "Cost") -> None:
    """Write the results of the search: the best values for `finetune`, the table of trials, figures and metrics."""
    best = best_trial(trials, config.further)
    with writing(paths.PLOTS / "tune" / "history.png") as fresh:
        draw_history(fresh, trials)
    with writing(paths.PLOTS / "tune" / "importance.png") as fresh:
        draw_importance(fresh, trials, derive_seed(seed, "tune/importance") % 2**32)
    work = {"images_seen": cost.images, "flops": cost.flops}
    write_metrics(paths.METRICS / "tune.json", {**summary(trials, config.further), **work})
    with writing(paths.MODELS / "tune", folder=True) as fresh:
        text = yaml.safe_dump(best.params if best else {}, sort_keys=False, allow_unicode=True)
        (fresh / "best.yaml").write_text(text, encoding="utf-8")
        (fresh / "trials.csv").write_text(table(trials, space, config.further), encoding="utf-8")


def summary(trials: "Sequence[FrozenTrial]", further: Sequence[FurtherScore] = ()) -> dict[str, Any]:
    """The metrics of the search; values are accuracies on the validation split."""
    states = [trial.state.name for trial in trials]
    best = best_trial(trials, further)
    values: dict[str, Any] = {"best": accuracy(best), "best_trial": best.number} if best else {}
    if best and further:
        values |= {f"best_{name}": value for name, value in zip(further, best.values[1:], strict=True)}
        values["front"] = len(pareto_front(trials, further))
    default = {"default": value} if trials and (value := accuracy(trials[0])) is not None else {}
    return {
        **values,
        **default,
        "trials": len(trials),
        "pruned": states.count("PRUNED"),
        "failed": states.count("FAIL"),
    }


def table(trials: "Sequence[FrozenTrial]", space: Space, further: Sequence[FurtherScore] = ()) -> str:
    """The trials as CSV: number, state, training steps, value, and one column per key of the space.

    With further objectives, the value is followed by a column for each and by `front`: is it on the Pareto front?
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "state", "steps", "value", *further, *(["front"] if further else []), *space])
    best = pareto_front(trials, further)
    for trial in trials:
        value = accuracy(trial)
        others = [f"{other:.6g}" for other in (trial.values or [])[1:]] or [""] * len(further)
        more = [*others, str(trial.number in best).lower()] if further else []
        point = [cell if isinstance(cell := trial.params[key], str) else json.dumps(cell) for key in space]
        shown = "" if value is None else f"{value:.6g}"
        writer.writerow([trial.number, trial.state.name.lower(), trial.last_step or 0, shown, *more, *point])
    return text.getvalue()
