"""The parameters of training, the same for every method."""

from dataclasses import field
from typing import Literal

from repflow.schema import Count, Fraction, NonNegative, NonNegativeCount, Positive, parameters


@parameters
class OptimizerConfig:
    """The optimiser.

    Attributes:
        name: "sgd" (Nesterov where there is momentum), "adam" or "adamw".
        learning_rate: at the peak of the schedule.
        momentum: of SGD; the first beta of the others.
        weight_decay: not applied to biases and normalisations.
        encoder_factor: the encoder learns at this multiple of the rate; 0 freezes it.
    """

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 1e-4
    encoder_factor: NonNegative = 1.0


@parameters
class ScheduleConfig:
    """How the learning rate goes.

    Attributes:
        name: "constant"; "cosine", down to 0 at the last step; or "annealed", 1 / (1 + 10 p)^0.75 over progress p
            (Ganin et al., JMLR 2016).
        warmup: share of the steps in which the rate rises linearly from 0.
    """

    name: Literal["constant", "cosine", "annealed"] = "cosine"
    warmup: Fraction = 0.0


@parameters
class EarlyStoppingConfig:
    """Stop when validation has not improved, and keep the best weights.

    Attributes:
        every: steps between two looks at the validation rows.
        patience: looks without improvement before training stops.
    """

    every: Count = 50
    patience: Count = 5


@parameters
class TrainingConfig:
    """One training.

    Attributes:
        steps: of the optimiser.
        batch_size: images of one stream in a step; a method may take a multiple of it for some streams.
        ema: decay of the exponential moving average of the weights that is kept instead of the last; None for none.
        clip: largest norm of the gradient; None for no limit.
        early_stopping: by source validation rows, for methods that learn a classifier; None for no early stop.
        log_every: steps between two points of the curves.
    """

    steps: NonNegativeCount
    batch_size: Count
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: Fraction | None = None
    clip: Positive | None = None
    early_stopping: EarlyStoppingConfig | None = None
    log_every: Count = 20
