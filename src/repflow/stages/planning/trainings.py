"""The trainings of a run: each stage's recipe within its budget, and the number of images of its streams."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from repflow.data.read.rows import TRAINING, Side
from repflow.encoders import EncoderConfig
from repflow.stages import paths
from repflow.stages.adapt import adaptation_recipe
from repflow.stages.finetune import found_by_search
from repflow.stages.learning import Recipe, read_recipe, with_network, within_budget_of
from repflow.stages.parameters import read, read_raw
from repflow.stages.planning.counts import Data
from repflow.stages.searching.config import TuneConfig
from repflow.stages.searching.trial import shortened
from repflow.stages.starting_models import SOURCE_ONLY
from repflow.stages.tune import count_workers


@dataclass(frozen=True)
class Training:
    """A training that a stage will run.

    Attributes:
        stage: address of the stage, as "adapt@dann".
        recipe: with its number of steps.
        streams: number of images of each stream of its method.
        held: numbers of images that the stage reads from the stores, each together.
        validated: number of images of a validation.
        trials: how many such trainings there are.
        turns: how many of them run one after another.
    """

    stage: str
    recipe: Recipe
    streams: Mapping[str, int]
    held: tuple[int, ...]
    validated: int = 0
    trials: int = 1
    turns: int = 1

    @property
    def images(self) -> int:
        """The number of images that it trains with; the labelled ones of a stream "unlabelled" count once."""
        return max(self.streams.values()) if "labelled" in self.streams else sum(self.streams.values())

    @property
    def steps(self) -> int:
        """Optimiser steps, of all trials."""
        return self.trials * (self.recipe.section.training.steps or 0)


def trainings(data: Data, is_searched: bool) -> Iterator[Training]:
    """Every training of the run, in the order of the stages; none for the adaptation to a target without images.

    Args:
        data: the images.
        is_searched: whether the search is up to date, so that `finetune` takes what it found.

    Raises:
        ParameterError: a parameter is not allowed, or there is no such method.
    """
    source, target = data.counts["source"], data.counts["target"]
    whole = {"unlabelled": source.training + target.training}
    yield _within_budget(
        "pretrain", read_recipe("pretrain"), "pretrain", whole, data, (source.training, target.training)
    )
    labelled = {"labelled": source.labels_on(Side.LABELLED), "unlabelled": source.training}
    validated = source.labels_on(Side.VALIDATION)
    held = (*labelled.values(), validated)
    config = read("tune", TuneConfig)
    if config.search.trials:
        trial = _within_budget("tune", read_recipe("finetune"), "finetune", labelled, data, held)
        yield Training(
            "tune",
            shortened(trial.recipe, config.search),
            trial.streams,
            held,
            validated,
            config.search.trials,
            _turns(config.search.trials, config.search.batch, count_workers(config)),
        )
    best = found_by_search() if is_searched and (paths.MODELS / "tune" / "best.yaml").is_file() else {}
    yield _within_budget(
        "finetune", read_recipe("finetune", best), "finetune", labelled, data, held, validated=validated
    )
    for key in read_raw("adapt") or {}:
        recipe = adaptation_recipe(key)
        if recipe.section.start == SOURCE_ONLY:
            own = read_recipe(f"adapt.{SOURCE_ONLY}").section
            recipe = with_network(recipe, own.encoder or read("encoder", EncoderConfig), own.head)
        if not target.training:
            continue
        seen = target.labels_on(*TRAINING) if recipe.method.reads_target_labels else target.training
        streams = {"source": source.labels_on(*TRAINING), "target": seen}
        pool = source.training + target.training
        yield _within_budget(f"adapt@{key}", recipe, "adapt", streams, data, (*streams.values(), pool))


def _within_budget(
    stage: str,
    recipe: Recipe,
    part: str,
    rows: Mapping[str, int],
    data: Data,
    held: tuple[int, ...],
    validated: int = 0,
) -> Training:
    streams = {name: rows[name] for name in recipe.method.streams}
    first = streams[recipe.method.streams[0]]
    return Training(stage, within_budget_of(recipe, part, first, data.channels, data.size), streams, held, validated)


def _turns(trials: int, batch: int, workers: int) -> int:
    """How many trials run one after another, given that batches do and `workers` of a batch run at once."""
    whole, rest = divmod(trials, batch)
    return whole * math.ceil(batch / workers) + math.ceil(rest / workers)
