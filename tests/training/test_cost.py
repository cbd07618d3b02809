"""The meter of a training: it counts all, adds up over kills, and changes nothing."""

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repflow.data.batches import Batches
from repflow.draw import Draw
from repflow.method import Losses
from repflow.semisup.supervised import Config, Supervised
from repflow.training import Trained
from repflow.training.cost import Cost, Meter, peak_memory

Run = Callable[..., Trained]


class Uncounted(Meter):
    """Counts no operations."""

    def __init__(self) -> None:
        super().__init__()
        self.restore({"step_flops": 0})


def test_it_counts_what_a_step_multiplies(method: Supervised, run: Run) -> None:
    """Forward, then the gradients of weights and inputs, each as dear; the first layer's input needs no gradient."""
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
    cost = meter.cost()
    assert (cost.step_flops, cost.flops) == (step, 3 * step)
    assert (cost.steps, cost.images) == (3, 48)
    assert trained.flops == cost.flops


def test_counting_changes_no_bit(method: Supervised, run: Run) -> None:
    uncounted = copy.deepcopy(method)
    counted = run(method, steps=5, meter=Meter())
    without = run(uncounted, steps=5, meter=Uncounted())
    assert counted.flops > 0 == without.flops
    assert counted.curve == without.curve
    for (name, one), other in zip(method.state_dict().items(), uncounted.state_dict().values(), strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes(), name


def test_the_count_depends_on_no_kernel_and_no_thread(method: Supervised, run: Run) -> None:
    expected = run(copy.deepcopy(method), steps=1).flops
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with torch.backends.mkldnn.flags(enabled=False):
            assert run(method, steps=1).flops == expected
    finally:
        torch.set_num_threads(threads)


class Slow(Supervised):
    """A step that takes a while after its batch is there."""

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        time.sleep(0.05)
        return super().losses(batch, draw)


def test_waiting_is_the_time_until_batches_are_there(
    method: Supervised, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repflow.data.batches import Stream

    fetch = Stream.at

    def slowly(self: Stream, *place: int) -> Any:
        time.sleep(0.05)
        return fetch(self, *place)

    slow = Slow(Config(), method.classifier)
    idle = Meter()
    run(slow, steps=4, meter=idle)
    monkeypatch.setattr(Stream, "at", slowly)
    waiting = Meter()
    run(slow, steps=4, meter=waiting)
    for meter in (idle, waiting):
        assert 0.2 <= meter.cost().training_seconds <= meter.cost().seconds
    assert waiting.cost().training_seconds >= 0.4
    assert waiting.cost().waiting_seconds >= 0.2 > idle.cost().waiting_seconds


def test_a_resumed_training_adds_to_what_was_spent(method: Supervised, run: Run) -> None:
    class Ended(Exception):
        pass

    killed = Meter(lambda: 0.25)
    states: list[str] = []

    def end(step: int, score: float) -> bool:
        states.append(json.dumps(killed.state()))
        raise Ended

    looks = {"early_stopping": {"every": 3, "patience": 9}}
    with pytest.raises(Ended):
        run(copy.deepcopy(method), steps=5, validate=lambda model: 0.0, observe=end, meter=killed, **looks)
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


def test_trainings_beside_each_other_add_their_work_but_not_the_clock() -> None:
    search = Meter(lambda: 1.0)
    one = Cost(2, 20, 200, 100, seconds=500.0, training_seconds=3.0, waiting_seconds=1.0, memory=7, energy=None)
    two = Cost(1, 10, 300, 300, seconds=900.0, training_seconds=4.0, memory=2**60, gpu_memory=5)
    for trial in (one, two):
        search.add(vars(trial))
    cost = search.cost()
    assert (cost.steps, cost.images, cost.flops) == (3, 30, 500)
    assert (cost.training_seconds, cost.waiting_seconds) == (7.0, 1.0)
    assert cost.seconds < 100
    assert (cost.memory, cost.gpu_memory, cost.energy) == (2**60, 5, 1.0)


def test_processes_side_by_side_count_each() -> None:
    meter = Meter()
    meter.restore({"step_flops": 10})
    meter.stepped(16, processes=2)
    assert (meter.cost().steps, meter.cost().images, meter.cost().flops) == (1, 32, 20)


def test_nobody_measures_energy_in_the_library() -> None:
    assert Meter().cost().energy is None


def test_peak_memory_is_this_processs_own() -> None:
    """A process that once was large reports it, and the small one that it starts does not inherit it."""
    code = "from repflow.training.cost import peak_memory; print(peak_memory())"
    big = f"import subprocess, sys; held = b'x' * (512 << 20); {code}; del held\n"
    big += f"print(peak_memory()); subprocess.run([sys.executable, '-c', {code!r}])"
    run = subprocess.run([sys.executable, "-c", big], capture_output=True, text=True, check=True)
    held, after, child = (int(line) for line in run.stdout.split())
    assert held > 512 * 2**20
    assert after >= held
    assert child < held - 256 * 2**20
    assert peak_memory() > 2**20
