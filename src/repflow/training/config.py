"""Training parameters, shared by all methods."""

from dataclasses import field
from typing import Literal

from repflow.schema import Count, Fraction, NonNegative, NonNegativeCount, Positive, parameters


@parameters
class OptimizerConfig:
    """The optimiser.

    Attributes:
        name: "sgd" (Nesterov where there is momentum), "adam" or "adamw".
        learning_rate: peak of the learning-rate schedule.
        momentum: of SGD; the first beta of the others.
        weight_decay: not applied to biases and normalisation layers.
        encoder_factor: multiplies the learning rate of the encoder; 0 freezes it.
    """

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 1e-4
    encoder_factor: NonNegative = 1.0


@parameters
class ScheduleConfig:
    """The learning-rate schedule.

    Attributes:
        name: "constant"; "cosine", down to 0 at the last step; or "annealed", 1 / (1 + 10 p)^0.75 over progress p
            (Ganin et al., JMLR 2016).
        warmup: fraction of the steps with a linear warm-up from 0.
    """

    name: Literal["constant", "cosine", "annealed"] = "cosine"
    warmup: Fraction = 0.0


@parameters
class EarlyStoppingConfig:
    """Early stopping: stop when the validation score no longer improves, and keep the best weights.

    Attributes:
        every: steps between two validations; None for a twentieth of a training whose steps the budget decides.
        patience: validations without improvement before training stops.
        tolerance: standard errors of the score that a later one may be below the highest and still count as good: the
            later weights are kept then. With few validation images the highest of several scores is mostly luck.
    """

    every: Count | None = 50
    patience: Count = 5
    tolerance: NonNegative = 0.0


@parameters
class TrainingConfig:
    """Parameters of one training run.

    Attributes:
        steps: number of training steps; None leaves it to the budget (`training.budget`).
        share: of the images that the budget gives a training, for a method that needs more or fewer; without effect
            where `steps` is given.
        batch_size: images per step and stream; a method may use a multiple of it for some streams.
        ema: decay of the exponential moving average of the weights, which is kept instead of the last weights; None for
            no averaging.
        clip: maximum gradient norm; None for no clipping.
        early_stopping: by the score on source validation rows, for classifier methods; None to disable.
        log_every: steps between two points of the training curves.
    """

    steps: NonNegativeCount | None
    batch_size: Count
    share: Positive = 1.0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: Fraction | None = None
    clip: Positive | None = None
    early_stopping: EarlyStoppingConfig | None = None
    log_every: Count = 20

    @property
    def validations(self) -> int:
        """How many validations there are at most, as far as the steps are known."""
        every = self.early_stopping.every if self.early_stopping else None
        return (self.steps or 0) // every if every else 0
