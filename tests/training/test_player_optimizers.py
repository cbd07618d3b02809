"""Alternating updates of several players, and parameters that are added during training."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Classifier
from repflow.methods.semisup.supervised import Supervised
from repflow.randomness.draws import Draw
from repflow.training import TrainingResult
from repflow.training.checkpoints import CheckpointConfig, CheckpointLocation, Checkpoints
from repflow.training.contract import ClassifierMethod, Losses, Update

Run = Callable[..., TrainingResult]
SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0}


class Game(ClassifierMethod):
    """A game on the product of two weights: one player minimises it, the other maximises it."""

    streams = ("labelled",)

    def __init__(self, classifier: Classifier):
        super().__init__(classifier)
        self.low, self.high = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.low.weight, 2.0)
        nn.init.constant_(self.high.weight, 3.0)
        self.drawn: list[float] = []

    @property
    def updates(self) -> tuple[Update, ...]:
        return (Update(self.lower, (self.low,)), Update(self.lift, (self.high,)))

    def product(self, draw: Draw) -> Tensor:
        self.drawn.append(draw.uniform(1).item())
        return (self.low.weight * self.high.weight).sum()

    def lower(self, batch: Batches, draw: Draw) -> Losses:
        assert not self.high.weight.requires_grad
        product = self.product(draw)
        return Losses(product, {"low": product})

    def lift(self, batch: Batches, draw: Draw) -> Losses:
        assert not self.low.weight.requires_grad
        product = self.product(draw)
        return Losses(-product, {"high": product})


def test_players_alternate_and_update_only_their_own_weights(run: Run, method: Supervised) -> None:
    game = Game(method.classifier)
    before = copy.deepcopy(game.classifier.state_dict())
    trained = run(game, steps=2, optimizer=SGD, schedule={"name": "constant"})
    low, high, expected = 2.0, 3.0, []
    for _ in range(2):
        seen = {"low": low * high}
        low -= 0.1 * high
        seen["high"] = low * high
        high += 0.1 * low
        expected.append(seen)
    assert game.low.weight.item() == pytest.approx(low)
    assert game.high.weight.item() == pytest.approx(high)
    for point, seen in zip(trained.curve, expected, strict=True):
        assert {name: point[name] for name in seen} == pytest.approx(seen)
        assert point["loss"] == pytest.approx(seen["low"] - seen["high"])
    assert all(torch.equal(value, before[name]) for name, value in game.classifier.state_dict().items())
    assert len(set(game.drawn)) == 4  # each update has its own random stream


class Growing(Supervised):
    """A method whose loss is scaled by parameters; a second one is added before the fourth step."""

    stop_at: int | None = None

    def __init__(self, config: Any, classifier: Classifier):
        super().__init__(config, classifier)
        self.factors = nn.ParameterList([nn.Parameter(torch.ones(1))])

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        assert not torch.is_grad_enabled()
        if step == self.stop_at:
            raise KeyboardInterrupt
        if step == 3:
            self.factors.append(nn.Parameter(draw.uniform(1) + 1))

    def load_state_dict(self, state: Mapping[str, Any], *arguments: Any, **named: Any) -> Any:
        while len(self.factors) < sum(name.startswith("factors.") for name in state):
            self.factors.append(nn.Parameter(torch.zeros(1)))
        return super().load_state_dict(state, *arguments, **named)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        found = super().losses(batch, draw)
        return Losses(found.total * torch.cat(list(self.factors)).sum(), found.metrics)


def growing(method: Supervised) -> Growing:
    return Growing(method.config, copy.deepcopy(method.classifier))


def test_added_parameters_are_trained_and_the_others_keep_their_momentum(run: Run, method: Supervised) -> None:
    optimizer = {"name": "sgd", "learning_rate": 1e-3, "momentum": 0.9, "weight_decay": 0.0}

    def factors(steps: int) -> list[float]:
        grown = growing(method)
        run(grown, steps=steps, optimizer=optimizer, schedule={"name": "constant"})
        return [each.item() for each in grown.factors]

    first, third, fourth = factors(1), factors(3), factors(4)
    assert [len(each) for each in (first, third, fourth)] == [1, 1, 2]
    assert 0 < 1 + Draw(0, "refresh", 3).uniform(1).item() - fourth[1] < 0.01
    assert third[0] - fourth[0] > 2 * (1 - first[0])  # not a first step: the momentum was kept


@pytest.mark.parametrize("stop", [2, 5])
def test_a_training_with_added_parameters_is_resumed(run: Run, method: Supervised, tmp_path: Path, stop: int) -> None:
    undisturbed, stopped, again = growing(method), growing(method), growing(method)
    expected = run(undisturbed, steps=7)

    def checkpoints() -> Checkpoints:
        return Checkpoints(CheckpointLocation(tmp_path / "train", "key"), CheckpointConfig(every_steps=1))

    stopped.stop_at = stop
    with pytest.raises(KeyboardInterrupt):
        run(stopped, steps=7, checkpoints=checkpoints())
    assert run(again, steps=7, checkpoints=checkpoints()) == expected
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in undisturbed.state_dict().items())
