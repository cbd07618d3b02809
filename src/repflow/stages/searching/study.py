"""A study that ends the same whatever runs beside what, and however often it is killed.

Trials are asked for in batches. Every question to the sampler and every decision of the pruner is a function of the
seed, the number of the trial and the trials that were finished before its batch began. So the journal need only hold
finished trials, in their order: what a kill leaves out of a batch is asked for again, with the same answers.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from repflow.errors import RepflowError
from repflow.randomness import derive
from repflow.stages.searching.config import PrunerConfig, SearchConfig
from repflow.stages.searching.space import Point, Space, distributions, tidy
from repflow.stages.searching.workers import Judge, Outcome, Workers, describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repflow.training.cost import Meter

log = logging.getLogger(__name__)

_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class Search:
    """A search over `space`.

    Args:
        config: how to search.
        space: what may vary.
        default: the point of trial 0.
        seed: of all draws.
        journal: the file of finished trials; a search that finds some goes on from there.
        meter: of what the trials cost; the journal keeps it too.
    """

    def __init__(
        self,
        config: SearchConfig,
        space: Space,
        default: Point,
        seed: int,
        journal: Path,
        meter: "Meter | None" = None,
    ):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._config, self._space, self._default, self._seed = config, space, default, seed
        self._distributions, self._meter = distributions(space), meter
        _drop_torn_end(journal)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        self._study = optuna.create_study(study_name="tune", storage=storage, direction="maximize", load_if_exists=True)

    @property
    def finished(self) -> list[FrozenTrial]:
        """The finished trials, by their numbers."""
        return self._study.get_trials(deepcopy=False)

    def run(self, workers: Workers) -> list[FrozenTrial]:
        """Run what is missing, and give all trials.

        Raises:
            RepflowError: every trial failed.
        """
        begun = time.monotonic()
        if self.finished:
            log.info("tune: %d of %d trials are there already", len(self.finished), self._config.trials)
            if self._meter is not None:
                self._meter.restore(self.finished[-1].user_attrs["cost"])
        while (done := len(self.finished)) < self._config.trials:
            if done % self._config.batch == 0 and done and self._late(begun):
                log.info("tune: the time is over after %d of %d trials", done, self._config.trials)
                break
            self._run_batch(workers, done)
        if self._config.trials and not best_trial(self.finished):
            reasons = sorted({trial.user_attrs.get("reason", "") for trial in self.finished})
            raise RepflowError(
                f"tune: all {len(self.finished)} trials failed: {'; '.join(reasons)}; mend finetune.training, or the"
                " ranges in tune.search.space"
            )
        return self.finished

    def _late(self, begun: float) -> bool:
        return self._config.time is not None and time.monotonic() - begun >= self._config.time

    def _run_batch(self, workers: Workers, done: int) -> None:
        """Run the trials of the batch that trial `done` belongs to, as far as they are missing, and write them down."""
        first = done - done % self._config.batch
        before = self.finished[:first]
        points = self.ask(before, range(first, min(first + self._config.batch, self._config.trials)))
        missing = {number: point for number, point in points.items() if number >= done}
        outcomes: dict[int, Outcome] = {}
        for number, outcome in workers.outcomes(missing, _judge(self._config.pruner, before)):
            outcomes[number] = outcome
            while (due := len(self.finished)) in outcomes:
                self._write(points[due], outcomes.pop(due))

    def ask(self, before: Sequence[FrozenTrial], numbers: "range") -> dict[int, Point]:
        """The points of the trials `numbers`, one batch, where only the trials `before` are known."""
        points: dict[int, Point] = {}
        for number in numbers:
            points[number] = self._draw(before, list(points.values()), number) if number else self._default
        return points

    def _draw(self, before: Sequence[FrozenTrial], beside: Sequence[Point], number: int) -> Point:
        # A new sampler for every trial: no state that a kill could lose. Its seed is 32 bits wide.
        seed = derive(self._seed, "tune", number) % 2**32
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._config.startup)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        # Neighbours in the batch stand as running ones, so that the sampler looks elsewhere.
        running = [
            create_trial(state=TrialState.RUNNING, params=point, distributions=self._distributions) for point in beside
        ]
        study.add_trials([*before, *running])
        return tidy(self._space, study.ask(self._distributions).params)

    def _write(self, point: Point, outcome: Outcome) -> None:
        """Add a finished trial to the journal: one line, so it is there whole or not at all."""
        number = len(self.finished)
        notes: dict[str, Any] = {"reason": outcome.reason} if outcome.reason else {}
        if self._meter is not None:
            self._meter.add(outcome.cost)
            notes["cost"] = self._meter.state()
        self._study.add_trial(
            create_trial(
                state=_STATES[outcome.state],
                value=score(outcome),
                params=point,
                distributions=self._distributions,
                intermediate_values=dict(outcome.looks),
                user_attrs=notes,
            )
        )
        best = best_trial(self.finished)
        log.info(
            "tune: %d of %d: trial %d, %s: %s; best so far: %s",
            number + 1,
            self._config.trials,
            number,
            describe(point),
            outcome.reason or f"{outcome.state}, validation {score(outcome):.4f}",
            f"{best.value:.4f} in trial {best.number}" if best else "none",
        )


def score(outcome: Outcome) -> float | None:
    """The value of a complete trial, the last look of one that was given up, None for a failed one."""
    if outcome.state == "pruned":
        return outcome.looks[max(outcome.looks)]
    return outcome.value


def best_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the highest value, the earliest among equals; None where there is none."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def _judge(config: PrunerConfig, before: Sequence[FrozenTrial]) -> Judge:
    """The pruner's decisions, where only the trials `before` are known."""
    study = optuna.create_study(direction="maximize")
    study.add_trials(before)
    pruner = _pruner(config)

    def goes_on(looks: "Mapping[int, float]") -> bool:
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=dict(looks))
        return not pruner.prune(study, trial)

    return goes_on


def _pruner(config: PrunerConfig) -> optuna.pruners.BasePruner:
    match config.name:
        case "none":
            return optuna.pruners.NopPruner()
        case "median":
            return optuna.pruners.MedianPruner(config.startup, config.warmup)
        case "percentile":
            return optuna.pruners.PercentilePruner(config.percentile, config.startup, config.warmup)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Path]:
    """The folder of a search, made where it is missing, for this process alone.

    Raises:
        RepflowError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RepflowError(f"{folder}: another process is at the same search; wait for it, or end it") from None
        yield folder


def _drop_torn_end(journal: Path) -> None:
    """Bring the journal of a killed search in order: it may end in half a line and may have left Optuna's lock."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{journal}.lock")
    with contextlib.suppress(FileNotFoundError), open(journal, "r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
