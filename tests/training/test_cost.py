"""The cost meter: FLOPs, waiting time and memory, summed over interrupted processes, without changing the result."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repflow.data.read.batches import Stream
from repflow.methods.semisup.supervised import Supervised
from repflow.training import TrainingResult, cost
from repflow.training.best_weights import Score
from repflow.training.cost import Cost, Meter

Run = Callable[..., TrainingResult]


class Uncounted(Meter):
    """A meter that does not count FLOPs."""

    def __init__(self) -> None:
        super().__init__()
        self.restore({"step_flops": 0})


def test_flops_of_a_step(method: Supervised, run: Run) -> None:
    """Forward, and backward for weights and for inputs at the same cost; the first layer needs no input gradient."""
    layers: list[int] = []

    def note(layer: nn.Conv2d | nn.Linear, given: Any, made: Tensor) -> None:
        layers.append(2 * layer.weight.numel() * made[:, 0].numel())

    for module in method.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(note)
    meter = Meter()
    trained = run(method, steps=3, meter=meter)
    assert len(layers) == 3 * 4
    step = 3 * sum(layers[:4]) - layers[0]
    spent = meter.cost()
    assert (spent.step_flops, spent.flops) == (step, 3 * step)
    assert (spent.steps, spent.images) == (3, 48)
    assert trained.flops == spent.flops


def test_counting_flops_does_not_change_the_result(method: Supervised, run: Run) -> None:
    uncounted = copy.deepcopy(method)
    counted = run(method, steps=5, meter=Meter())
    without = run(uncounted, steps=5, meter=Uncounted())
    assert counted.flops > 0 == without.flops
    assert counted.curve == without.curve
    for (name, one), other in zip(method.state_dict().items(), uncounted.state_dict().values(), strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes(), name


def test_flops_do_not_depend_on_kernels_or_threads(
    method: Supervised, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(copy.deepcopy(method), steps=1).flops
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    try:
        torch.set_num_threads(3)
        assert run(method, steps=1).flops == expected
    finally:
        torch.set_num_threads(threads)


def test_waiting_time_is_the_time_to_load_batches(
    method: Supervised, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a fake clock that advances by 3 per batch and by 5 per forward pass."""
    now = 0.0

    def passing(seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def slower(*given: Any) -> Any:
            nonlocal now
            now += seconds
            return work(*given)

        return slower

    monkeypatch.setattr("repflow.training.cost.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(Stream, "at", passing(3, Stream.at))
    monkeypatch.setattr(Supervised, "losses", passing(5, Supervised.losses))
    meter = Meter()
    now = 100.0
    run(method, steps=4, meter=meter)
    now += 10
    spent = meter.cost()
    assert (spent.waiting_seconds, spent.training_seconds, spent.seconds) == (4 * 3, 4 * (3 + 5), 100 + 32 + 10)


def test_a_resumed_training_adds_to_the_cost(method: Supervised, run: Run) -> None:
    class Ended(Exception):
        pass

    killed = Meter(lambda: 0.25)
    states: list[str] = []

    def end(step: int, score: float) -> bool:
        states.append(json.dumps(killed.state()))
        raise Ended

    looks = {"early_stopping": {"every": 3, "patience": 9}}
    with pytest.raises(Ended):
        run(copy.deepcopy(method), steps=5, validate=lambda model: Score(0.0, 100), observe=end, meter=killed, **looks)
    before = json.loads(states[0])
    resumed = Meter(lambda: 0.5)
    resumed.restore(before)
    run(method, steps=2, meter=resumed)
    whole = Meter()
    run(method, steps=5, meter=whole)
    after = resumed.cost()
    assert (after.steps, after.images, after.flops) == (5, 80, whole.cost().flops)
    assert after.energy == 0.75
    assert after.seconds > before["seconds"] > 0
    assert after.training_seconds > before["training_seconds"] > 0
    assert after.memory >= before["memory"]


def test_parallel_trainings_add_work_but_not_wall_clock_time() -> None:
    search = Meter(lambda: 1.0)
    one = Cost(2, 20, 200, 100, seconds=500.0, training_seconds=3.0, waiting_seconds=1.0, memory=7, energy=None)
    two = Cost(1, 10, 300, 300, seconds=900.0, training_seconds=4.0, memory=2**60, gpu_memory=5)
    for trial in (one, two):
        search.add(vars(trial))
    spent = search.cost()
    assert (spent.steps, spent.images, spent.flops) == (3, 30, 500)
    assert (spent.training_seconds, spent.waiting_seconds) == (7.0, 1.0)
    assert spent.seconds < 100
    assert (spent.memory, spent.gpu_memory, spent.energy) == (2**60, 5, 1.0)


def test_flops_are_multiplied_by_the_number_of_processes() -> None:
    meter = Meter()
    meter.restore({"step_flops": 10})
    meter.count_step(16, processes=2)
    assert (meter.cost().steps, meter.cost().images, meter.cost().flops) == (1, 16, 20)


def test_energy_is_none_by_default() -> None:
    assert Meter().cost().energy is None


def test_peak_memory_is_per_process() -> None:
    """The peak is reported after memory was freed, and a child process does not inherit it."""
    measure = f"import runpy; print(runpy.run_path({cost.__file__!r})['peak_memory']())"
    large = f"import subprocess, sys; held = b'x' * (256 << 20); del held; {measure}\n"
    large += f"subprocess.run([sys.executable, '-c', {measure!r}])"
    run = subprocess.run([sys.executable, "-c", large], capture_output=True, text=True, check=True)
    parent, child = (int(line) / 2**20 for line in run.stdout.split())
    assert parent > 256
    assert 4 < child < 128
