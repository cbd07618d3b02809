"""One trial: a shortened fine-tuning, evaluated on the validation split of the source."""

import dataclasses
import threading
from typing import Any

from torch import nn
from tqdm import tqdm

from repflow.data.read.rows import Rows
from repflow.encoders import Classifier
from repflow.errors import Diverged
from repflow.evaluation.classification import scores
from repflow.evaluation.features import probabilities
from repflow.hardware.cpu import pin
from repflow.hardware.devices import HardwareConfig
from repflow.stages.finetune import finetuning_rows
from repflow.stages.initial_model import describe, starting_classifier
from repflow.stages.learning import Recipe, fit, read_recipe, within_budget
from repflow.stages.parameters import read
from repflow.stages.project import open_project_domain
from repflow.stages.searching.config import SearchConfig
from repflow.stages.searching.space import Point
from repflow.stages.searching.workers import Evaluate, Outcome, ReportScore
from repflow.training.config import EarlyStoppingConfig
from repflow.training.cost import Meter


def prepare_trials(config: SearchConfig) -> Evaluate:
    """Open the project's data once, and return a function that runs a trial on them.

    A trial's value is the validation accuracy of the weights that `finetune` would keep: the best score with early
    stopping, else the last one.
    """
    pin(read("hardware", HardwareConfig).instructions)  # the search's own workers inherit it; a cluster's may not
    # tqdm's default inter-process lock would be leaked by a process that is killed.
    tqdm.set_lock(threading.RLock())
    source = open_project_domain("source")
    rows, validation = finetuning_rows(source, read_recipe("finetune"))

    def evaluate(point: Point, report_score: ReportScore) -> Outcome:
        recipe = within_budget(read_recipe("finetune", point), "finetune", rows)
        description = describe(recipe, source, source.classes)
        classifier, _ = starting_classifier(recipe, description, source.store.images, rows["labelled"])
        seen: list[float] = []
        meter = Meter()

        def observe(step: int, score: float) -> bool:
            seen.append(score)
            return report_score(step, score)

        short = shortened(recipe, config)
        how: dict[str, Any] = {"meter": meter, "validation": validation, "observe": observe, "save": False}
        try:
            method, trained = fit(short, classifier, rows, title="trial", **how)
        except Diverged as error:
            return Outcome("failed", reason=str(error), cost=meter.state())
        if trained.steps < (short.section.training.steps or 0):
            return Outcome("pruned", cost=meter.state())
        value = max(seen) if recipe.section.training.early_stopping else seen[-1]
        further = further_scores(method.learned, validation, config)
        return Outcome("complete", value, cost=meter.state(), further=further)

    return evaluate


def further_scores(classifier: nn.Module, validation: Rows, config: SearchConfig) -> tuple[float, ...]:
    """The further objectives on the validation split, with the best weights."""
    if not config.further:
        return ()
    assert isinstance(classifier, Classifier)
    found = scores(probabilities(classifier, validation.images), validation.labels)
    return tuple(found[name] for name in config.further)


def shortened(recipe: Recipe, config: SearchConfig) -> Recipe:
    """`recipe` as a trial trains it: fewer steps, evaluation at fixed steps, the threads of the search."""
    whole = recipe.section.training.steps
    assert whole is not None
    steps = config.steps or max(1, round(config.share * whole))
    every = config.every or max(1, steps // 10)
    evaluations = EarlyStoppingConfig(every=every, patience=steps + 1)  # only the pruner stops a trial early
    training = dataclasses.replace(recipe.section.training, steps=steps, early_stopping=evaluations)
    hardware = dataclasses.replace(recipe.hardware, threads=config.threads, devices=1, nodes=1)
    section = dataclasses.replace(recipe.section, training=training)
    return dataclasses.replace(recipe, section=section, hardware=hardware, length="tune.search")
