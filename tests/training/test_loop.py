"""The training loop."""

import copy
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repflow.data.read.batches import Batches, Stream
from repflow.encoders.dropout import Dropout
from repflow.errors import DataError, ParameterError, RepflowError
from repflow.methods.semisup.supervised import Config, Supervised
from repflow.randomness.draws import Draw
from repflow.training import TrainingResult
from repflow.training.best_weights import Score
from repflow.training.contract import Losses

Run = Callable[..., TrainingResult]
SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_training_is_a_function_of_its_seed(method: Supervised, run: Run) -> None:
    again, other = copy.deepcopy(method), copy.deepcopy(method)
    torch.manual_seed(1)
    first = run(method, steps=6)
    torch.manual_seed(2)
    second = run(again, steps=6)
    third = run(other, steps=6, seed=1)
    assert first == second
    assert_same(state(method), state(again))
    assert third.curve != first.curve


def test_training_leaves_the_global_generator_alone(method: Supervised, run: Run) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(method, steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_losses_fall_and_are_logged(method: Supervised, run: Run) -> None:
    trained = run(method, steps=150, log_every=10, optimizer={"learning_rate": 0.01})
    assert trained.steps == trained.best_step == 150
    assert trained.images == 150 * 16
    assert [point["step"] for point in trained.curve] == list(range(10, 151, 10))
    assert trained.curve[-1]["loss"] < 0.3 * trained.curve[0]["loss"]
    assert trained.curve[-1]["accuracy"] > 0.9
    assert trained.best_score is None
    assert not method.training


def test_a_logged_point_is_the_mean_since_the_last_one(method: Supervised, run: Run) -> None:
    fine = run(copy.deepcopy(method), steps=6).curve
    coarse = run(method, steps=6, log_every=4).curve
    assert [point["step"] for point in coarse] == [4, 6]
    assert coarse[0]["loss"] == pytest.approx(sum(point["loss"] for point in fine[:4]) / 4, rel=1e-5)
    assert coarse[1]["accuracy"] == pytest.approx(sum(point["accuracy"] for point in fine[4:]) / 2, rel=1e-5)


def test_the_learning_rate_follows_the_schedule(method: Supervised, run: Run) -> None:
    schedule = {"name": "cosine", "warmup": 0.2}
    trained = run(method, steps=10, optimizer=SGD, schedule=schedule)
    rates = [point["learning_rate"] for point in trained.curve]
    assert rates == pytest.approx([0.0333, 0.0667, 0.1, 0.0962, 0.0854, 0.0691, 0.05, 0.0309, 0.0146, 0.0038], abs=1e-4)


def test_a_step_is_gradient_descent(run: Run, rows: dict[str, Any], method: Supervised) -> None:
    method.classifier.head[0] = nn.Identity()
    by_hand = copy.deepcopy(method).train()
    batch = Batches({"labelled": Stream("labelled", rows["labelled"]).at(0, 16, seed=0)}, 0.0)
    by_hand.losses(batch, Draw(0, "step")).total.backward()
    run(method, steps=1, optimizer=SGD, schedule={"name": "constant"})
    for weight, expected in zip(method.parameters(), by_hand.parameters(), strict=True):
        assert expected.grad is not None
        assert torch.allclose(weight, expected - 0.1 * expected.grad, atol=1e-7)


def test_dropout_masks_differ_between_steps(method: Supervised, run: Run) -> None:
    kept: list[Tensor] = []
    dropout = next(module for module in method.modules() if isinstance(module, Dropout))
    # With inputs of 1 the output is the dropout mask.
    dropout.register_forward_pre_hook(lambda module, given: torch.ones_like(given[0]))
    dropout.register_forward_hook(lambda module, given, dropped: kept.append(dropped > 0))
    run(method, steps=2)
    run(method, steps=2)
    assert not torch.equal(kept[0], kept[1])
    assert torch.equal(torch.stack(kept[:2]), torch.stack(kept[2:])), "and the same in every run"


def test_the_moving_average_of_the_weights_is_kept(method: Supervised, run: Run) -> None:
    path = []
    for steps in (1, 2, 3):
        walker = copy.deepcopy(method)
        run(walker, steps=steps, optimizer=SGD, schedule={"name": "constant"})
        path.append(state(walker.classifier))
    run(method, steps=3, optimizer=SGD, schedule={"name": "constant"}, ema=0.8)
    for name, kept in state(method.classifier).items():
        first, second, third = (each[name] for each in path)
        assert torch.allclose(kept, 0.8 * (0.8 * first + 0.2 * second) + 0.2 * third, atol=1e-6), name


def test_the_norm_of_the_gradient_is_clipped(method: Supervised, run: Run) -> None:
    def distance(**training: Any) -> float:
        moved = copy.deepcopy(method)
        run(moved, steps=1, optimizer=SGD, schedule={"name": "constant"}, **training)
        pairs = zip(moved.parameters(), method.parameters(), strict=True)
        return torch.cat([(a - b).flatten() for a, b in pairs]).norm().item()

    assert distance() > 0.1 * 0.01 * 2
    assert distance(clip=0.01) == pytest.approx(0.1 * 0.01, rel=1e-3)
    assert distance(clip=1e6) == pytest.approx(distance())


def test_encoder_factor_0_freezes_the_encoder(method: Supervised, run: Run) -> None:
    before = state(method.classifier)
    run(method, steps=3, optimizer={"encoder_factor": 0.0})
    for name, tensor in state(method.classifier).items():
        assert torch.equal(tensor, before[name]) == name.startswith("encoder."), name


class Script:
    """A validation with given scores, which records the weights it is called with."""

    def __init__(self, *scores: float):
        self.scores = scores
        self.seen: list[dict[str, Tensor]] = []

    def __call__(self, model: nn.Module) -> Score:
        assert not model.training, "dropout must be off where a model is judged"
        assert not torch.is_grad_enabled()
        self.seen.append(state(model))
        return Score(self.scores[len(self.seen) - 1], rows=100)


@pytest.mark.parametrize("ema", [None, 0.5])
def test_early_stopping_keeps_the_best_weights(method: Supervised, run: Run, ema: float | None) -> None:
    script = Script(0.3, 0.7, 0.6, 0.7, 0.5, 0.9)
    trained = run(method, steps=100, ema=ema, validate=script, early_stopping={"every": 5, "patience": 3})
    assert (trained.steps, trained.best_step, trained.best_score) == (25, 10, 0.7)
    assert_same(script.seen[1], state(method.classifier))
    assert [point["validation"] for point in trained.curve if "validation" in point] == [0.3, 0.7, 0.6, 0.7, 0.5]


def test_later_weights_are_kept_within_the_noise_of_a_score(method: Supervised, run: Run) -> None:
    """With 100 rows a standard error is about .045 around .7; .66 counts as good, .6 does not."""
    script = Script(0.3, 0.7, 0.66, 0.6, 0.6, 0.6)
    stopping = {"every": 5, "patience": 3, "tolerance": 1.0}
    trained = run(method, steps=100, validate=script, early_stopping=stopping)
    assert (trained.steps, trained.best_step, trained.best_score) == (30, 15, 0.66)
    assert_same(script.seen[2], state(method.classifier))


def test_the_noise_is_that_around_the_highest_score(method: Supervised, run: Run) -> None:
    """Scores that fall little by little are not good for ever."""
    script = Script(0.7, 0.67, 0.64, 0.61, 0.58)
    stopping = {"every": 5, "patience": 9, "tolerance": 1.0}
    trained = run(method, steps=25, validate=script, early_stopping=stopping)
    assert (trained.best_step, trained.best_score) == (10, 0.67)


@pytest.mark.parametrize(("value", "rows"), [(0.7, 100), (1.0, 20), (0.0, 20)])
def test_standard_errors_are_those_of_a_binomial_share(value: float, rows: int) -> None:
    drawn = np.random.default_rng(0).binomial(rows + 2, (value * rows + 1) / (rows + 2), 20_000) / (rows + 2)
    assert Score(value, rows).standard_error == pytest.approx(drawn.std(), rel=0.03)


def test_the_last_weights_are_validated(method: Supervised, run: Run) -> None:
    script = Script(0.1, 0.2, 0.3)
    trained = run(method, steps=12, validate=script, early_stopping={"every": 5, "patience": 3})
    assert (trained.steps, trained.best_step, trained.best_score) == (12, 12, 0.3)


def test_validation_does_not_change_the_training(method: Supervised, run: Run) -> None:
    judged = copy.deepcopy(method)
    with_validation = run(
        judged, steps=6, validate=lambda model: Score(0.0, 100), early_stopping={"every": 2, "patience": 10}
    )
    without = run(method, steps=6)
    assert [point["loss"] for point in with_validation.curve] == [point["loss"] for point in without.curve]


def test_an_observer_can_end_a_training(method: Supervised, run: Run) -> None:
    told: list[tuple[int, float]] = []

    def observe(step: int, score: float) -> bool:
        told.append((step, score))
        return step < 4

    script = Script(0.1, 0.4, 0.9)
    trained = run(method, steps=10, validate=script, observe=observe, early_stopping={"every": 2, "patience": 9})
    assert told == [(2, 0.1), (4, 0.4)]
    assert trained.steps == 4


class Exploding(Supervised):
    """A method whose loss is NaN from the third step on."""

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        found = super().losses(batch, draw)
        return Losses(found.total * (float("nan") if draw.step >= 2 else 1.0))


def test_a_nan_loss_ends_the_training_with_advice(run: Run, method: Supervised) -> None:
    exploding = Exploding(Config(), method.classifier)
    with pytest.raises(RepflowError, match=r"is nan at step 3 of 10; try a lower training\.optimizer\.learning_rate"):
        run(exploding, steps=10)


class Watched(Supervised):
    """Records the calls of its hooks."""

    def __init__(self, config: Config, classifier: Any):
        super().__init__(config, classifier)
        self.calls: list[Any] = []

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        assert self.training
        self.calls.append((draw.step, batch.progress))
        return super().losses(batch, draw)

    def after_step(self) -> None:
        self.calls.append("after")

    def finish(self, streams: Mapping[str, Stream]) -> None:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.calls.append(sorted(streams))


def test_hooks_are_called_every_step_and_at_the_end(run: Run, method: Supervised) -> None:
    watched = Watched(Config(), method.classifier)
    run(watched, steps=2)
    assert watched.calls == [(0, 0.0), "after", (1, 0.5), "after", ["labelled"]]


def test_zero_steps_keep_the_weights(run: Run, method: Supervised) -> None:
    before = state(method)
    trained = run(method, steps=0)
    assert (trained.steps, trained.curve) == (0, [])
    assert_same(before, state(method))


def test_a_stream_without_images_is_named(method: Supervised, fabric: Any, rows: dict[str, Any]) -> None:
    from repflow.data.read.rows import Rows
    from repflow.training import TrainingConfig, train

    full = rows["labelled"]
    empty = Rows(full.images[:0], full.labels[:0], full.index[:0], full.classes)
    with pytest.raises(DataError, match="the stream 'labelled' has no images"):
        train(method, {"labelled": empty}, TrainingConfig(steps=1, batch_size=4), fabric, seed=0)


class Heavy(Supervised):
    """Raises an out-of-memory error for more than five images."""

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        if len(batch["labelled"].labels) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().losses(batch, draw)


def test_out_of_memory_names_a_batch_size_that_fits(method: Supervised, run: Run) -> None:
    method.__class__ = Heavy
    with pytest.raises(ParameterError, match="16 images do not fit into the memory of the device; 4 would, or set"):
        run(method, steps=2)


def test_a_stream_may_be_used_in_finish_only(method: Supervised, run: Run) -> None:
    class Last(Supervised):
        """Uses its stream of labels in `finish` only."""

        def batch_size(self, stream: str, size: int) -> int:
            return 0

        def losses(self, batch: Batches, draw: Draw) -> Losses:
            assert not batch.streams
            return Losses(sum(weight.square().sum() for weight in self.parameters()))  # type: ignore[arg-type]

        def finish(self, streams: Mapping[str, Stream]) -> None:
            self.seen = len(streams["labelled"])

    method.__class__ = Last
    assert run(method, steps=2).images == 0
    assert method.seen == 96  # type: ignore[attr-defined]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_encoder_has_the_same_losses(method: Supervised, run: Run) -> None:
    plain = run(copy.deepcopy(method), steps=3, optimizer=SGD).curve
    compiled = run(method, steps=3, optimizer=SGD, compile="default").curve
    assert [point["loss"] for point in compiled] == pytest.approx([point["loss"] for point in plain], rel=1e-4)
    assert all("_orig_mod" not in name for name in method.state_dict()), "files keep their names"
