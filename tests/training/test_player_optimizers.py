"""Who learns in a step: players that take turns, and parameters that come and go."""

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
from repflow.training import Trained
from repflow.training.checkpoints import CheckpointConfig, Checkpoints, Place
from repflow.training.contract import ClassifierMethod, Losses, Turn

Run = Callable[..., Trained]
SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0}


class Game(ClassifierMethod):
    """One player wants a product low, the other one high; each has a factor of its own."""

    streams = ("labelled",)

    def __init__(self, classifier: Classifier):
        super().__init__(classifier)
        self.low, self.high = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.low.weight, 2.0)
        nn.init.constant_(self.high.weight, 3.0)
        self.drawn: list[float] = []

    @property
    def turns(self) -> tuple[Turn, ...]:
        return (Turn(self.lower, (self.low,)), Turn(self.lift, (self.high,)))

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


def test_players_take_turns_and_move_only_their_own(run: Run, method: Supervised) -> None:
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
    assert len(set(game.drawn)) == 4  # each turn draws for itself


class Growing(Supervised):
    """Factors of the loss; a second one joins before the fourth step."""

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


def test_what_comes_later_learns_too_and_the_others_go_on(run: Run, method: Supervised) -> None:
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
def test_a_training_that_grew_goes_on_from_its_checkpoint(
    run: Run, method: Supervised, tmp_path: Path, stop: int
) -> None:
    undisturbed, stopped, again = growing(method), growing(method), growing(method)
    expected = run(undisturbed, steps=7)

    def checkpoints() -> Checkpoints:
        return Checkpoints(Place(tmp_path / "train", "key"), CheckpointConfig(every_steps=1))

    stopped.stop_at = stop
    with pytest.raises(KeyboardInterrupt):
        run(stopped, steps=7, checkpoints=checkpoints())
    assert run(again, steps=7, checkpoints=checkpoints()) == expected
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in undisturbed.state_dict().items())
