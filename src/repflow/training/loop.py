"""The training loop that all methods share."""

import contextlib
import functools
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.errors import Interrupted, ParameterError
from repflow.hardware.devices import wait_for
from repflow.randomness.draws import Draw
from repflow.training.best_weights import BestWeights, Observe, TrainingResult, Validate
from repflow.training.checkpoints import CheckpointConfig, Checkpoints, State
from repflow.training.compilation import compile_method
from repflow.training.config import TrainingConfig
from repflow.training.contract import Losses, Method
from repflow.training.cost import Meter
from repflow.training.distributed import check_batch_sizes, synchronise_batch_norm
from repflow.training.divergence import check_scale, check_weights, loss_error
from repflow.training.interruption import Interruption
from repflow.training.optimisation import averaged
from repflow.training.player_optimizers import PlayerOptimizers
from repflow.training.progress import Progress

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
    silent: bool = False,
) -> TrainingResult:
    """Train `method` in place. Afterwards it holds the best weights, in evaluation mode on the CPU.

    Args:
        method: the method to train.
        rows: the data of each of the method's streams.
        config: parameters of the training.
        fabric: devices and precision, from `prepare`. Several processes train data-parallel, with the same result as
            one process up to rounding.
        seed: random seed of the run.
        compile: "off", or the mode of `torch.compile` for the encoder.
        title: shown with the progress.
        validate: computes the validation score, every `early_stopping.every` steps; needed for early stopping.
        observe: callback after every validation.
        checkpoints: where to resume from and to save to. A resumed training ends with the same bytes as an
            uninterrupted one.
        meter: measures the cost; saved in checkpoints, so that the cost of interrupted processes is included.
        silent: show no progress.

    Raises:
        Diverged: the loss or the weights became infinite or NaN, or all gradients in half precision did.
        DataError: a stream has no images.
        ParameterError: the batch size is not a multiple of the number of processes, or does not fit into GPU memory.
        Interrupted: SIGINT or SIGTERM was received, or the time was over, and a checkpoint was saved.
    """
    steps = _given(config)
    compile_method(method, compile)
    run = _Run(method, rows, config, fabric, seed, validate, observe, meter or Meter())
    state = checkpoints.load()
    if state is not None:
        run.restore(state)
        log.info("%s: resumed after step %d", title, run.trained.steps)
    silent = silent or not fabric.is_global_zero
    wait = functools.partial(wait_for, fabric.device)
    beside = f" at most, and {config.validations} validations" if validate and config.validations else ""
    progress = Progress(title, steps, run.trained.steps, silent, wait, beside)
    going = run.trained.steps < steps and not run.stopped
    method.train()
    with contextlib.closing(progress), Interruption(active=checkpoints.enabled) as interruption:
        while going:
            going = run.step(progress)
            interrupted = run.any_rank(interruption.requested or checkpoints.expired)
            if going and (interrupted or checkpoints.due(run.trained.steps)):
                if fabric.is_global_zero:
                    checkpoints.save(run.trained.steps, run.state())
                fabric.barrier()
            if going and interrupted:
                done = f"{title}: stopped after step {run.trained.steps} of {steps}"
                raise Interrupted(f"{done} and saved; run the same command again to resume")
    checkpoints.remove()
    return run.finish()


def _given(config: TrainingConfig) -> int:
    """The number of steps.

    Raises:
        ParameterError: it was left to a budget, which nothing has applied.
    """
    if config.steps is None:
        raise ParameterError("training.steps: missing; give a number of steps, or apply a budget first")
    return config.steps


class _Run:
    """The state of a training, and one step of it."""

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
        self._meter, self._steps = meter, _given(config)
        rank, ranks = fabric.global_rank, fabric.world_size
        self._streams = {
            name: Stream(name, rows[name], fabric.device, rank=rank, ranks=ranks) for name in method.streams
        }
        self._sizes = {name: method.batch_size(name, config.batch_size) for name in method.streams}
        check_batch_sizes(self._sizes, ranks)
        if ranks > 1:
            synchronise_batch_norm(method, fabric.device)
        method.begin(self._streams, Draw(seed, "begin"))
        self._optimizers = PlayerOptimizers(method, config, fabric)
        self._average = averaged(method.learned, config.ema) if config.ema is not None else None
        self._best_weights = BestWeights(config, method, self._average, validate, observe)
        self._pending: list[Losses] = []
        self.trained = self._best_weights.trained
        self.stopped = False

    def step(self, progress: Progress) -> bool:
        """One training step; True if training continues."""
        config, step = self._config, self.trained.steps
        with torch.no_grad():
            self._method.refresh(step, self._streams, Draw(self._seed, "refresh", step, self._fabric.device))
        self._optimizers.sync_parameters()
        self._optimizers.set_rates(step, self._steps)
        try:
            losses = self._update(self._sizes)
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory_error() from error
        self._method.after_step()
        if self._average is not None:
            self._average.update_parameters(self._method.learned)
        self._pending.append(losses)
        self.trained.steps = step + 1
        self.trained.images += sum(self._sizes.values())
        last = self.trained.steps == self._steps
        if self.trained.steps % config.log_every == 0 or last:
            self._log(progress)
        self._meter.count_step(sum(self._sizes.values()), self._fabric.world_size)
        progress.count(self.trained.steps)
        self.stopped = not self._best_weights.should_continue(last)
        return not last and not self.stopped

    def _update(self, sizes: Mapping[str, int], dry_run: bool = False) -> Losses:
        """All updates of the next step on batches of these sizes; a dry run only computes the gradients."""
        step, fabric = self.trained.steps, self._fabric
        with self._meter.waiting_for_data():
            batches = {name: self._streams[name].at(step, size, self._seed) for name, size in sizes.items() if size}
        draw = Draw(self._seed, "step", step, fabric.device, rank=fabric.global_rank, ranks=fabric.world_size)
        with self._meter.counting_flops():
            return self._optimizers.step(Batches(batches, step / self._steps), draw, dry_run)

    def _out_of_memory_error(self) -> ParameterError:
        """The error for a batch that is too large for the GPU memory; names a batch size that fits, found by trying."""
        size = self._config.batch_size
        message = f"training.batch_size: {size} images do not fit into the memory of the device"
        fits = 0
        while self._fabric.world_size == 1 and size > 1 and not fits:
            size //= 2
            with contextlib.suppress(torch.OutOfMemoryError):
                self._update({name: self._method.batch_size(name, size) for name in self._streams}, dry_run=True)
                fits = size
        found = f"{fits} would" if fits else "take fewer"
        return ParameterError(f"{message}; {found}, or set hardware.precision=bf16-mixed")

    def _log(self, progress: Progress) -> None:
        """Add a point to the training curves: the means of losses and metrics since the last point."""
        values = {"loss": torch.stack([each.total for each in self._pending])}
        for name in self._pending[-1].metrics:
            values[name] = torch.stack([each.metrics[name].float() for each in self._pending])
        means = self._all_reduce(torch.stack([each.mean() for each in values.values()]), "mean")
        point = dict(zip(values, means.tolist(), strict=True))
        steps = self.trained.steps
        if not math.isfinite(point["loss"]):
            raise loss_error(values["loss"], steps, self._steps, self._optimizers.scaler)
        check_scale(steps, self._steps, self._optimizers.scaler)
        rate = self._optimizers.rate
        self.trained.curve.append({"step": float(steps), "loss": point.pop("loss"), "learning_rate": rate, **point})
        self._pending = []
        progress.show(steps, self.trained.curve[-1]["loss"], self.trained.images)

    def any_rank(self, requested: bool) -> bool:
        """Whether any of the processes received a signal; they may receive it at different steps."""
        if self._fabric.world_size == 1:
            return requested
        flag = torch.full((), float(requested), device=self._fabric.device)
        return bool(self._all_reduce(flag, "sum") > 0)

    def _all_reduce(self, values: Tensor, operation: str) -> Tensor:
        """The mean or the sum over all processes."""
        reduced = self._fabric.all_reduce(values, reduce_op=operation)
        assert isinstance(reduced, Tensor)
        return reduced

    def state(self) -> State:
        """The state for a checkpoint: everything that the following steps depend on."""
        return {
            "method": self._method.state_dict(),
            "optimizer": self._optimizers.optimizer.state_dict(),
            "scaler": self._optimizers.scaler.state_dict() if self._optimizers.scaler is not None else None,
            "average": self._average.state_dict() if self._average is not None else None,
            "best_weights": self._best_weights.state(),
            "pending": [[each.total, dict(each.metrics)] for each in self._pending],
            "stopped": self.stopped,
            "cost": self._meter.state(),
        }

    def restore(self, state: State) -> None:
        """Restore the state of a checkpoint."""
        self._method.load_state_dict(state["method"])
        self._optimizers.sync_parameters()
        self._optimizers.load_state_dict(state["optimizer"])
        if self._optimizers.scaler is not None:
            self._optimizers.scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._best_weights.restore(state["best_weights"])
        device = self._fabric.device
        self._pending = [
            Losses(total.to(device), {name: value.to(device) for name, value in metrics.items()})
            for total, metrics in state["pending"]
        ]
        self.stopped = state["stopped"]
        self._meter.restore(state["cost"])

    def finish(self) -> TrainingResult:
        """Load the best weights and let the method finish."""
        self.trained.flops = self._meter.cost().flops
        self._best_weights.load_best()
        check_weights(self._method.parameters(), self.trained.steps, self._steps, self._optimizers.scaler)
        self._method.eval()
        with torch.no_grad():
            self._method.finish(self._streams)
        self._method.to("cpu").to(memory_format=torch.contiguous_format)
        return self.trained
