"""The parameters of the search."""

from typing import Annotated, Any, Literal

from pydantic import Field

from repflow.schema import Count, NonNegativeCount, Positive, parameters

Value = bool | int | float | str | None
"""What a parameter may be set to by a search."""


@parameters
class FloatRange:
    """A number from `low` to `high`, tried to four significant digits; evenly over its logarithm where `log`."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False


@parameters
class IntRange:
    """A whole number from `low` to `high`, both included."""

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
"""What one parameter may be in a search."""


@parameters
class PrunerConfig:
    """Which trials are given up before their end, judged by the trials that were finished before their batch began.

    Attributes:
        name: "none"; "median", which gives up a trial whose best look so far is below the median of the others' at the
            same step; or "percentile", which gives up all but the best `percentile` per cent.
        percentile: for "percentile" alone.
        startup: finished trials before any is given up.
        warmup: steps of training before a trial can be given up.
    """

    name: Literal["none", "median", "percentile"] = "median"
    percentile: Annotated[float, Field(ge=0, le=100)] = 25.0
    startup: NonNegativeCount = 4
    warmup: NonNegativeCount = 0


Further = Literal["f1", "worst_recall", "ece"]
"""Scores of the validation rows besides the accuracy: the mean F1 of the classes, the recall of the worst class, and
the expected calibration error, the only one that is to be small."""


@parameters
class SearchConfig:
    """What decides the outcome of a search.

    Attributes:
        space: keys below `finetune`, nested as there, down to mappings with a `type`: float, int or categorical.
        trials: how many; the first is the point that the parameters already describe. 0 searches nothing.
        batch: trials that are asked for at once, so that they can run side by side; none learns from its neighbours.
        time: seconds after which no new batch begins, None for no limit. Fewer trials fit into it on a slower machine,
            so the outcome then depends on the machine.
        steps: of a trial's training, None for as many as `finetune` takes.
        every: steps between two looks at the validation rows.
        startup: trials drawn evenly from the space before TPE learns from them.
        pruner: which trials are given up early.
        threads: of PyTorch in each trial; the last digits depend on it. 0 leaves it to PyTorch.
        further: objectives beside the accuracy. Trials are then asked for along the front where none is better in all;
            `best.yaml` still has the most accurate one, and pruning still goes by accuracy.
    """

    space: dict[str, Any]
    trials: NonNegativeCount = 8
    batch: Count = 4
    time: Positive | None = None
    steps: Count | None = None
    every: Count = 50
    startup: NonNegativeCount = 4
    pruner: PrunerConfig = Field(default_factory=PrunerConfig)
    threads: NonNegativeCount = 1
    further: tuple[Further, ...] = ()


@parameters
class TuneConfig:
    """The section `tune`.

    Attributes:
        search: all that decides the outcome.
        workers: processes that run trials side by side, None for as many as the processors allow. The outcome does not
            depend on it, so it is no part of the record.
    """

    search: SearchConfig
    workers: Count | None = None
