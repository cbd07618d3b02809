"""How long to train: a number of steps that follows from the images and from what the encoder costs."""

import dataclasses
import math

from repflow.schema import Count, Positive, parameters
from repflow.training.config import TrainingConfig

REFERENCE = 25e6
"""Floating-point operations of one forward pass that `Budget.most` is given for: `small_resnet` on 32x32 pixels."""

_FEWEST = 50


@parameters
class Budget:
    """How many images a training sees, each counted as often as it is used.

    Attributes:
        passes: over the images of the first stream that a method names: the unlabelled ones of a pretraining, the
            labelled ones of a fine-tuning, the source's of an adaptation.
        least: images at least, however few there are to pass over.
        most: images at most, however many there are; fewer in proportion for an encoder that costs more than
            `REFERENCE`, as it does on larger images, and more for one that costs less.
    """

    passes: Positive
    least: Count
    most: Count


@parameters
class Budgets:
    """The section `budget`: one of each kind of training."""

    pretrain: Budget
    finetune: Budget
    adapt: Budget


def budgeted(config: TrainingConfig, budget: Budget, images: int, flops: float) -> TrainingConfig:
    """`config` with what it leaves to the budget: its steps, and those between validations. The batch fits the data.

    Args:
        config: with `steps` None; one that gives its steps is returned as it is.
        budget: passes, and what is seen at least and at most.
        images: number of images of the first stream.
        flops: floating-point operations of the encoder's forward pass for one image.
    """
    if config.steps is not None:
        return config
    most = budget.most * REFERENCE / max(flops, 1.0)
    seen = min(max(budget.passes * images, budget.least), max(most, 1.0))
    batch_size = max(1, min(config.batch_size, images // 2)) if images > 1 else config.batch_size
    steps = max(_FEWEST, math.ceil(config.share * seen / batch_size))
    stopping = config.early_stopping
    if stopping is not None and stopping.every is None:
        stopping = dataclasses.replace(stopping, every=max(1, steps // 20))
    return dataclasses.replace(config, steps=steps, batch_size=batch_size, early_stopping=stopping)


def reason(config: TrainingConfig, budget: Budget, images: int, flops: float) -> str:
    """What decides how long a training of `budgeted` is, in words; the arguments are the same."""
    most = max(budget.most * REFERENCE / max(flops, 1.0), 1.0)
    if max(budget.passes * images, budget.least) > most:
        found = f"{most:,.0f} images at most with this encoder"
    elif budget.passes * images >= budget.least:
        found = f"{budget.passes:g} passes over {images:,} images"
    else:
        found = f"{budget.least:,} images at least"
    return found if config.share == 1 else f"{found}, times {config.share:g}"
