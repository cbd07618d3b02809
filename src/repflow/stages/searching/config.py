"""The parameters of the hyperparameter search."""

from typing import Annotated, Any, Literal

from pydantic import Field

from repflow.schema import Count, NonNegativeCount, Positive, parameters

Share = Annotated[float, Field(gt=0, le=1)]
"""A part of something, not nothing."""

Value = bool | int | float | str | None
"""A value that a search may set."""


@parameters
class FloatRange:
    """A number from `low` to `high`, rounded to four significant digits; on a logarithmic scale if `log`."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False


@parameters
class IntRange:
    """An integer from `low` to `high`, both included; on a logarithmic scale if `log`."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False


@parameters
class Choices:
    """One of `choices`."""

    type: Literal["categorical"]
    choices: Annotated[tuple[Value, ...], Field(min_length=1)]


Dimension = FloatRange | IntRange | Choices
"""The range of one parameter in a search space."""


@parameters
class PrunerConfig:
    """Pruning: which trials are stopped early, compared with the trials that were finished before their batch began.

    Attributes:
        name: "none"; "median", which prunes a trial whose best score so far is below the median score of the other
            trials at the same step; or "percentile", which prunes all but the best `percentile` per cent.
        percentile: per cent of the trials that go on, 0 to 100; only for "percentile".
        startup: number of finished trials before any trial is pruned.
        warmup: training steps before a trial can be pruned.
    """

    name: Literal["none", "median", "percentile"] = "median"
    percentile: Annotated[float, Field(ge=0, le=100)] = 25.0
    startup: NonNegativeCount = 4
    warmup: NonNegativeCount = 0


FurtherScore = Literal["f1", "worst_recall", "ece"]
"""Further objectives on the validation split besides accuracy: macro F1, the recall of the worst class, and the
expected calibration error, which is minimised."""


@parameters
class SearchConfig:
    """The settings that decide the result of a search.

    Attributes:
        space: keys below `finetune`, nested as there, down to mappings with a `type`: float, int or categorical.
        trials: number of trials; the first one uses the current parameters. 0 disables the search.
        batch: trials that are sampled together, so that they can run in parallel; the sampler does not use results of
            the same batch.
        time: seconds after which no new batch begins, None for no limit. Fewer trials fit into it on a slower machine,
            so the result then depends on the machine.
        steps: training steps of a trial, None for the `share` of those of `finetune`.
        share: see `steps`.
        every: training steps between two evaluations on the validation split; None for a tenth of a trial.
        startup: number of random trials before the TPE sampler uses results.
        pruner: which trials are stopped early.
        threads: PyTorch threads of each trial; rounding depends on it. 0 for PyTorch's default.
        further: objectives besides accuracy. The search then samples along the Pareto front; `best.yaml` still has the
            most accurate trial, and pruning still uses accuracy.
    """

    space: dict[str, Any]
    trials: NonNegativeCount = 8
    batch: Count = 4
    time: Positive | None = None
    steps: Count | None = None
    share: Share = 1.0
    every: Count | None = 50
    startup: NonNegativeCount = 4
    pruner: PrunerConfig = Field(default_factory=PrunerConfig)
    threads: NonNegativeCount = 1
    further: tuple[FurtherScore, ...] = ()


@parameters
class TuneConfig:
    """The section `tune`.

    Attributes:
        search: the settings that decide the result.
        workers: number of processes that run trials in parallel, None for as many as there are CPU cores. The result
            does not depend on it, so no stage depends on it.
    """

    search: SearchConfig
    workers: Count | None = None
