"""The one loop."""

import contextlib
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.errors import Diverged, Interrupted, ParameterError
from repflow.randomness.draws import Draw
from repflow.training.best_weights import Keeper, Observe, Trained, Validate
from repflow.training.checkpoints import CheckpointConfig, Checkpoints, State
from repflow.training.compilation import make_fast
from repflow.training.config import TrainingConfig
from repflow.training.contract import Losses, Method
from repflow.training.cost import Meter
from repflow.training.interruption import Interruption
from repflow.training.optimisation import averaged, rate_factor
from repflow.training.player_optimizers import Learners
from repflow.training.progress import Progress
from repflow.training.ranks import check_shares, synchronise_batch_norm

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger("repflow")

NO_CHECKPOINTS = Checkpoints(None, CheckpointConfig())


def train(
    method: Method,
    rows: Mapping[str, Rows],
    config: TrainingConfig,
    fabric: "Fabric",
    *,
    seed: int,
    compile: str = "off",
    title: str = "train",
    validate: Validate | None = None,
    observe: Observe | None = None,
    checkpoints: Checkpoints = NO_CHECKPOINTS,
    meter: Meter | None = None,
) -> Trained:
    """Train `method` in place; afterwards it holds the weights to keep, in evaluation mode on the CPU.

    Args:
        method: what to train.
        rows: the rows of each stream that the method names.
        config: how.
        fabric: devices and precision, from `prepare`. Several processes train as one would, each on its share of every
            batch.
        seed: of all draws.
        compile: "off", or the mode in which `torch.compile` makes the encoder faster.
        title: for the progress.
        validate: scores what was learned; needed for early stopping, and looked at every `early_stopping.every` steps.
        observe: told of every validation.
        checkpoints: where to go on from, and to save to. A training that goes on ends with the same bytes as one that
            was never stopped.
        meter: of what it costs; checkpoints keep it, so that a training that goes on adds to what was spent.

    Raises:
        Diverged: the loss became infinite or no number.
        DataError: a stream has no rows.
        ParameterError: the batch cannot be shared between the processes, or does not fit into the device's memory.
        Interrupted: SIGINT or SIGTERM came, and the state was saved.
    """
    make_fast(method, compile)
    run = _Run(method, rows, config, fabric, seed, validate, observe, meter or Meter())
    state = checkpoints.load()
    if state is not None:
        run.restore(state)
        log.info("%s: goes on after step %d", title, run.trained.steps)
    progress = Progress(title, config.steps, done=run.trained.steps, silent=not fabric.is_global_zero)
    going = run.trained.steps < config.steps and not run.stopped
    method.train()
    with Interruption(active=checkpoints.wanted) as interruption:
        while going:
            going = run.step(progress)
            heard = run.agreed(interruption.heard)
            if going and (heard or checkpoints.due(run.trained.steps)):
                if fabric.is_global_zero:
                    checkpoints.save(run.trained.steps, run.state())
                fabric.barrier()
            if going and heard:
                progress.close()
                done = f"{title}: stopped after step {run.trained.steps} of {config.steps}"
                raise Interrupted(f"{done} and saved; the same command goes on")
    progress.close()
    checkpoints.remove()
    return run.finish()


class _Run:
    """A training under way: all that a step changes, and the step."""

    def __init__(
        self,
        method: Method,
        rows: Mapping[str, Rows],
        config: TrainingConfig,
        fabric: "Fabric",
        seed: int,
        validate: Validate | None,
        observe: Observe | None,
        meter: Meter,
    ):
        self._method, self._config, self._fabric, self._seed = method, config, fabric, seed
        self._meter = meter
        rank, ranks = fabric.global_rank, fabric.world_size
        self._streams = {
            name: Stream(name, rows[name], fabric.device, rank=rank, ranks=ranks) for name in method.streams
        }
        self._sizes = {name: method.batch_size(name, config.batch_size) for name in method.streams}
        check_shares(self._sizes, ranks)
        if ranks > 1:
            synchronise_batch_norm(method, fabric.device)
        method.begin(self._streams, Draw(seed, "begin"))
        self._learners = Learners(method, config.optimizer, fabric)
        self._average = averaged(method.learned, config.ema) if config.ema is not None else None
        self._keeper = Keeper(config, method, self._average, validate, observe)
        self._pending: list[Losses] = []
        self.trained = self._keeper.trained
        self.stopped = False

    def step(self, progress: Progress) -> bool:
        """One step of the optimiser; whether training goes on."""
        config, step = self._config, self.trained.steps
        with torch.no_grad():
            self._method.refresh(step, self._streams, Draw(self._seed, "refresh", step, self._fabric.device))
        self._learners.follow()
        self._learners.set_rate(rate_factor(config.schedule, step, config.steps))
        try:
            losses = self._learn(self._sizes)
        except torch.OutOfMemoryError as error:
            raise self._advice() from error
        self._method.after_step()
        if self._average is not None:
            self._average.update_parameters(self._method.learned)
        self._pending.append(losses)
        self.trained.steps = step + 1
        self.trained.images += sum(self._sizes.values())
        last = self.trained.steps == config.steps
        if self.trained.steps % config.log_every == 0 or last:
            self._note(progress)
        self._meter.stepped(sum(self._sizes.values()), self._fabric.world_size)
        self.stopped = not self._keeper.goes_on(last)
        return not last and not self.stopped

    def _learn(self, sizes: Mapping[str, int], dry: bool = False) -> Losses:
        """Every player's turn on the batches of the next step, of these sizes; a dry one ends with the gradients."""
        step, fabric = self.trained.steps, self._fabric
        with self._meter.waiting():
            batches = {name: self._streams[name].at(step, size, self._seed) for name, size in sizes.items() if size}
        draw = Draw(self._seed, "step", step, fabric.device, rank=fabric.global_rank, ranks=fabric.world_size)
        with self._meter.counting():
            return self._learners.play(Batches(batches, step / self._config.steps), draw, self._config.clip, dry)

    def _advice(self) -> ParameterError:
        """The error of a batch that is too large for the device, with the size that would fit, found by trying."""
        size = self._config.batch_size
        message = f"training.batch_size: {size} images do not fit into the memory of the device"
        fits = 0
        while self._fabric.world_size == 1 and size > 1 and not fits:
            size //= 2
            with contextlib.suppress(torch.OutOfMemoryError):
                self._learn({name: self._method.batch_size(name, size) for name in self._streams}, dry=True)
                fits = size
        found = f"{fits} would" if fits else "take fewer"
        return ParameterError(f"{message}; {found}, or set hardware.precision=bf16-mixed")

    def _note(self, progress: Progress) -> None:
        """Add the mean of the losses since the last point to the curves."""
        values = {"loss": torch.stack([each.total for each in self._pending])}
        for name in self._pending[-1].metrics:
            values[name] = torch.stack([each.metrics[name].float() for each in self._pending])
        means = self._common(torch.stack([each.mean() for each in values.values()]), "mean")
        point = dict(zip(values, means.tolist(), strict=True))
        steps = self.trained.steps
        if not math.isfinite(point["loss"]):
            loss = point["loss"]
            raise Diverged(f"the loss is {loss} at step {steps}; lower training.optimizer.learning_rate or set clip")
        rate = self._learners.rate
        self.trained.curve.append({"step": float(steps), "loss": point.pop("loss"), "learning_rate": rate, **point})
        self._pending = []
        progress.show(steps, self.trained.curve[-1]["loss"], self.trained.images)

    def agreed(self, heard: bool) -> bool:
        """Whether a signal came to any of the processes, which may not hear it at the same step."""
        if self._fabric.world_size == 1:
            return heard
        told = torch.tensor(float(heard), device=self._fabric.device)
        return bool(self._common(told, "sum") > 0)

    def _common(self, values: Tensor, operation: str) -> Tensor:
        """The mean or the sum over the processes."""
        reduced = self._fabric.all_reduce(values, reduce_op=operation)
        assert isinstance(reduced, Tensor)
        return reduced

    def state(self) -> State:
        """All that the steps to come depend on."""
        return {
            "method": self._method.state_dict(),
            "optimizer": self._learners.optimizer.state_dict(),
            "average": self._average.state_dict() if self._average is not None else None,
            "keeper": self._keeper.state(),
            "pending": [[each.total, dict(each.metrics)] for each in self._pending],
            "stopped": self.stopped,
            "cost": self._meter.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._method.load_state_dict(state["method"])
        self._learners.follow()
        self._learners.optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._keeper.restore(state["keeper"])
        device = self._fabric.device
        self._pending = [
            Losses(total.to(device), {name: value.to(device) for name, value in metrics.items()})
            for total, metrics in state["pending"]
        ]
        self.stopped = state["stopped"]
        self._meter.restore(state["cost"])

    def finish(self) -> Trained:
        """Give the method the weights to keep, and its last word."""
        self.trained.flops = self._meter.cost().flops
        self._keeper.keep()
        self._method.eval()
        with torch.no_grad():
            self._method.finish(self._streams)
        self._method.to("cpu").to(memory_format=torch.contiguous_format)
        return self.trained
