"""Training parameters, shared by all methods."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from repflow.schema import Count, Fraction, NonNegative, NonNegativeCount, Positive, parameters


@parameters
class ModuleConfig:
    """How the parameters of one module learn, where it is not as all others do.

    Attributes:
        factor: multiplies the learning rate; 0 freezes the module.
        weight_decay: instead of the optimiser's; None for the optimiser's.
        constant: whether the learning rate stays at its peak.
        frozen: share of the training steps, from the first, in which the parameters do not change.
    """

    factor: NonNegative = 1.0
    weight_decay: NonNegative | None = None
    constant: bool = False
    frozen: Fraction = 0.0


@parameters
class OptimizerConfig:
    """The optimiser.

    Attributes:
        name: "sgd" (Nesterov where there is momentum), "adam", "adamw", or "lars" (You, Gitman, Ginsburg, 2017).
        learning_rate: peak of the learning-rate schedule.
        rate_for_batch: the batch size that `learning_rate` is for; with another one it is proportional to the size
            (Goyal et al., 2017). None for the same rate with every batch size.
        momentum: of SGD and LARS; the first beta of the others.
        second_beta: of Adam and AdamW.
        weight_decay: not applied to biases and normalisation layers. LARS adapts the rates of the others alone.
        final_weight_decay: at the last step, approached by a cosine; None for a constant one.
        encoder_factor: multiplies the learning rate of the encoder; 0 freezes it.
        layer_decay: multiplies the learning rate of each layer of the encoder once for every layer after it, and for
            what follows the encoder (Clark, Luong, Le, Manning, ICLR 2020; Bao, Dong, Piao, Wei, ICLR 2022).
        modules: what is different for single modules, by their names in the method, as `prediction_head`; a longer name
            wins.
    """

    name: Literal["sgd", "adam", "adamw", "lars"] = "adamw"
    learning_rate: Positive = 1e-3
    rate_for_batch: Count | None = None
    momentum: Fraction = 0.9
    second_beta: Fraction = 0.999
    weight_decay: NonNegative = 1e-4
    final_weight_decay: NonNegative | None = None
    encoder_factor: NonNegative = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    modules: Mapping[str, ModuleConfig] = field(default_factory=dict)

    def peak(self, batch_size: int) -> float:
        """The peak learning rate with this batch size."""
        return self.learning_rate * (1.0 if self.rate_for_batch is None else batch_size / self.rate_for_batch)


@parameters
class ScheduleConfig:
    """The learning-rate schedule.

    Attributes:
        name: "constant"; "cosine", down to 0 at the last step; "quarter_cosine", cos(7/16 pi p) over progress p, down
            to .195 (Sohn et al., NeurIPS 2020); or "annealed", 1 / (1 + 10 p)^0.75 (Ganin et al., JMLR 2016).
        warmup: fraction of the steps with a linear warm-up from 0.
    """

    name: Literal["constant", "cosine", "quarter_cosine", "annealed"] = "cosine"
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
