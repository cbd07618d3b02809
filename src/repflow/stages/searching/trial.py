"""One trial: a shortened fine-tuning, scored on the source's validation rows."""

import dataclasses
import threading
from typing import Any

from tqdm import tqdm

from repflow.errors import Diverged
from repflow.stages.finetune import finetuning_rows
from repflow.stages.learning import Recipe, describe, fit, read_recipe, starting_classifier
from repflow.stages.project import open_project_domain
from repflow.stages.searching.config import SearchConfig
from repflow.stages.searching.space import Point
from repflow.stages.searching.workers import Evaluate, Look, Outcome
from repflow.training.config import EarlyStoppingConfig
from repflow.training.cost import Meter


def open_trials(config: SearchConfig) -> Evaluate:
    """Open the project's data once, and give what runs a trial on them.

    A trial's value is the validation accuracy of the weights that `finetune` would keep: the best look's where it stops
    early, else the last one's.
    """
    # tqdm's own lock between processes would be left in the system by a process that is killed.
    tqdm.set_lock(threading.RLock())
    source = open_project_domain("source")
    rows, validation = finetuning_rows(source)

    def evaluate(point: Point, look: Look) -> Outcome:
        recipe = read_recipe("finetune", point)
        classifier, _ = starting_classifier(recipe, describe(recipe, source, source.classes), source.store.images)
        scores: list[float] = []
        meter = Meter()

        def observe(step: int, score: float) -> bool:
            scores.append(score)
            return look(step, score)

        short = shortened(recipe, config)
        how: dict[str, Any] = {"meter": meter, "validation": validation, "observe": observe, "save": False}
        try:
            _, trained = fit(short, classifier, rows, title="trial", **how)
        except Diverged as error:
            return Outcome("failed", reason=str(error), cost=meter.state())
        if trained.steps < short.section.training.steps:
            return Outcome("pruned", cost=meter.state())
        value = max(scores) if recipe.section.training.early_stopping else scores[-1]
        return Outcome("complete", value, cost=meter.state())

    return evaluate


def shortened(recipe: Recipe, config: SearchConfig) -> Recipe:
    """`recipe` as a trial trains it: fewer steps, looks at fixed steps, the search's threads."""
    steps = config.steps or recipe.section.training.steps
    looks = EarlyStoppingConfig(every=config.every, patience=steps + 1)  # a trial is given up by the pruner alone
    training = dataclasses.replace(recipe.section.training, steps=steps, early_stopping=looks)
    hardware = dataclasses.replace(recipe.hardware, threads=config.threads, devices=1, nodes=1)
    return dataclasses.replace(
        recipe, section=dataclasses.replace(recipe.section, training=training), hardware=hardware
    )
