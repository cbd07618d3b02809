"""Tests of all methods: every YAML file of a method in conf/ is tested."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import nn

from numerics.waits import Waits
from numerics.watch import Watch
from repflow.augment import per_sample
from repflow.augment.policy import Policy
from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import Classifier, EncoderConfig, build_encoder
from repflow.encoders.classifier import build_head
from repflow.errors import ParameterError
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.registry import find_method
from repflow.randomness import draws
from repflow.randomness.draws import Draw, seeded
from repflow.schema import build
from repflow.stages.learning import MethodSection, check_method
from repflow.training import TrainingConfig, train
from repflow.training.compilation import policies_of
from repflow.training.contract import EncoderMethod, Losses, Method

CONF = Path(__file__).parents[2] / "conf"
GROUPS = ("pretrain", "finetune", "adapt")
"""Groups of conf/ whose choices are methods."""
SIZE = 16
CLASSES = tuple(str(digit) for digit in range(10))

METHODS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]


@dataclass
class Recipe:
    """A method as its YAML file says."""

    kind: type[Method]
    settings: Any
    section: MethodSection
    encoder: Any

    def new(self, seed: int = 0) -> Method:
        """The method with random weights."""
        with seeded(seed, "weights"):
            encoder = build_encoder(self.encoder, channels=3, size=SIZE)
            if issubclass(self.kind, EncoderMethod):
                return self.kind(self.settings, encoder)
            head = build_head(self.section.head, encoder.width, len(CLASSES))
            return self.kind(self.settings, Classifier(encoder, head))


@pytest.fixture(scope="module", params=METHODS, ids="/".join)
def recipe(request: pytest.FixtureRequest, configuration: dict[str, Any]) -> Recipe:
    """Every method after the other."""
    group, name = request.param
    kind, settings, section = check_method(configuration["methods"][group][name], f"conf/{group}/{name}.yaml")
    values = configuration["encoder"]
    encoder: Any = section.encoder or build(EncoderConfig, values, "encoder")  # type: ignore[type-var]
    return Recipe(kind, settings, section, encoder)


@pytest.fixture(scope="module")
def shown() -> dict[str, Rows]:
    """Real digits for every stream, their labels shown; the target's are negatives."""
    digits = load_digits()
    grey = (digits.images * 255 / 16).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    images = grey[:, None].repeat(3, axis=1)
    labels = digits.target.astype(np.int64)

    def rows(first: int, last: int, negative: bool = False) -> Rows:
        part = images[first:last]
        return Rows(255 - part if negative else part, labels[first:last], np.arange(last - first), CLASSES)

    return {
        "unlabelled": rows(0, 90),
        "labelled": rows(0, 40),
        "source": rows(100, 190),
        "target": rows(200, 290, negative=True),
    }


@pytest.fixture
def rows(recipe: Recipe, shown: dict[str, Rows]) -> dict[str, Rows]:
    """The rows as a stage gives them: labels are shown only where the method may see them."""
    seen = {"labelled", "source"} | ({"target"} if recipe.kind.reads_target_labels else set())
    return {
        name: each if name in seen else Rows(each.images, np.full_like(each.labels, -1), each.index, each.classes)
        for name, each in shown.items()
    }


def batch(method: Method, rows: Mapping[str, Rows], progress: float = 0.0) -> Batches:
    sizes = {name: method.batch_size(name, 8) for name in method.streams}
    parts = {name: Stream(name, rows[name]).at(0, size, seed=0) for name, size in sizes.items() if size}
    return Batches(parts, progress)


def losses(method: Method, batches: Batches, update: int = 0) -> Losses:
    found: Losses = method(batches, Draw(0, "step"), update)
    return found


def begun(recipe: Recipe, rows: Mapping[str, Rows], seed: int = 0) -> Method:
    """The method at its first step."""
    method = recipe.new(seed).train()
    streams = {name: Stream(name, rows[name]) for name in method.streams}
    method.begin(streams, Draw(seed, "begin"))
    with torch.no_grad():
        method.refresh(0, streams, Draw(seed, "refresh"))
    return method


def learning(modules: Iterable[nn.Module]) -> dict[str, nn.Parameter]:
    found = {}
    for number, module in enumerate(modules):
        found |= {f"{number}.{name}": each for name, each in module.named_parameters() if each.requires_grad}
    return found


def test_every_update_lowers_its_own_loss(recipe: Recipe, rows: dict[str, Rows]) -> None:
    for number in range(len(recipe.new().updates)):
        method = begun(recipe, rows)
        fixed = batch(method, rows)
        before = losses(method, fixed, number)
        before.total.backward()
        with torch.no_grad():
            for weight in learning(method.updates[number].modules).values():
                weight -= 1e-4 * weight.grad
        after = losses(method, fixed, number)
        assert torch.isfinite(before.total)
        assert before.total.shape == ()
        assert after.total < before.total


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_gradients_reach_all_trainable_parameters(recipe: Recipe, rows: dict[str, Rows], progress: float) -> None:
    method = begun(recipe, rows)
    with torch.no_grad():
        # As long as all scores lie within a hinge's margin, real and made images pull its bias by the same amount.
        for weight in method.parameters():
            if weight.shape == (1,):
                weight += 1.5
    everywhere = set()
    for number, update in enumerate(method.updates):
        method.zero_grad()
        losses(method, batch(method, rows, progress), number).total.backward()
        for name, weight in learning(update.modules).items():
            assert weight.grad is not None, f"no gradient reaches {name}"
            assert weight.grad.abs().sum() > 0, f"the gradient of {name} is zero"
            everywhere.add(weight)
    assert everywhere == {each for each in method.parameters() if each.requires_grad}
    assert any(weight.requires_grad for weight in method.learned.parameters())


def test_metrics_are_finite_scalars(recipe: Recipe, rows: dict[str, Rows]) -> None:
    method = begun(recipe, rows)
    for name, value in losses(method, batch(method, rows, progress=0.5)).metrics.items():
        assert value.shape == (), name
        assert torch.isfinite(value), name


def test_hidden_labels_are_not_used(recipe: Recipe, rows: dict[str, Rows], shown: dict[str, Rows]) -> None:
    if recipe.kind.reads_known_labels:
        shown = {**shown, "unlabelled": rows["unlabelled"]}  # the stage hides those that are not known
    method = begun(recipe, rows)
    hidden, leaked = (losses(method, batch(method, each, progress=0.9)).total for each in (rows, shown))
    assert torch.equal(hidden, leaked)


def test_batches_are_not_modified(recipe: Recipe, rows: dict[str, Rows]) -> None:
    method = begun(recipe, rows)
    fixed = batch(method, rows)
    before = {name: each.images.clone() for name, each in fixed.streams.items()}
    losses(method, fixed)
    for name, each in fixed.streams.items():
        assert torch.equal(each.images, before[name]), name


def test_the_state_dict_can_be_saved_and_loaded(recipe: Recipe, rows: dict[str, Rows], tmp_path: Path) -> None:
    method = begun(recipe, rows)
    fixed = batch(method, rows, progress=0.5)
    losses(method, fixed)
    save_file(method.state_dict(), tmp_path / "state.safetensors")
    other = begun(recipe, rows, seed=1)
    assert not torch.equal(losses(method, fixed).total, losses(other, fixed).total)
    other = begun(recipe, rows, seed=1)
    other.load_state_dict(load_file(tmp_path / "state.safetensors"))
    method.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(losses(method, fixed).total, losses(other, fixed).total)


def trained(
    recipe: Recipe, rows: Mapping[str, Rows], seed: int, steps: int = 3, precision: str = "32-true"
) -> tuple[Method, list[Any]]:
    hardware = build(HardwareConfig, {"precision": precision, "threads": 1}, "hardware")
    values = {"steps": steps, "batch_size": 8, "log_every": 1}
    method = recipe.new(seed)
    curve = train(method, rows, build(TrainingConfig, values, "training"), prepare(hardware), seed=seed).curve
    return method, curve


def test_the_same_seed_trains_to_the_same_bytes(recipe: Recipe, rows: dict[str, Rows]) -> None:
    (one, curve), (two, again), (other, _) = (trained(recipe, rows, seed) for seed in (3, 3, 4))
    assert curve == again
    for name, tensor in one.learned.state_dict().items():
        assert torch.equal(tensor, two.learned.state_dict()[name]), name
    states = [torch.cat([each.flatten() for each in method.learned.parameters()]) for method in (one, other)]
    assert not torch.equal(*states)
    assert not one.training
    width = len(CLASSES) if isinstance(one.learned, Classifier) else one.learned.width
    with torch.no_grad():
        assert one.learned(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, width)


def test_it_trains_in_mixed_precision(recipe: Recipe, rows: dict[str, Rows]) -> None:
    _, curve = trained(recipe, rows, seed=0, steps=1, precision="bf16-mixed")
    _, exact = trained(recipe, rows, seed=0, steps=1)
    assert curve[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.05, abs=0.02)


def test_no_digit_of_a_step_depends_on_the_maker_of_the_cpu(recipe: Recipe, rows: dict[str, Rows]) -> None:
    with Watch() as watch:
        trained(recipe, rows, seed=0, steps=1)
    assert watch.found == []  # see repflow.hardware.portable_math


@pytest.mark.parametrize("progress", [0.0, 0.95], ids=["at the beginning", "at the end"])
def test_a_step_asks_nothing_of_a_gpu(
    recipe: Recipe, rows: dict[str, Rows], progress: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second step; a first one may set up what later ones take.

    Augmentation and random numbers are those of a GPU, here on the CPU, where answers cost nothing and can be counted.
    """
    monkeypatch.setattr(per_sample, "MASKED", frozenset({"cpu"}))
    monkeypatch.setattr(draws, "OWN_NUMBERS", frozenset({"cpu"}))
    # On a CPU it looks first whether the labels are allowed; on a GPU, given the number of classes, it asks nothing.
    monkeypatch.setattr(F, "one_hot", lambda labels, classes: torch.eye(classes, dtype=torch.int64)[labels])
    few = {"words": 4} if hasattr(recipe.settings, "words") else {}
    method = dataclasses.replace(recipe, settings=dataclasses.replace(recipe.settings, **few)).new().train()
    streams = {name: Stream(name, rows[name]) for name in method.streams}
    method.begin(streams, Draw(0, "begin"))
    sizes = {name: method.batch_size(name, 8) for name in method.streams}

    def step(number: int) -> None:
        with torch.no_grad():
            method.refresh(number, streams, Draw(0, "refresh", number))
        batches = Batches({name: streams[name].at(number, size, 0) for name, size in sizes.items() if size}, progress)
        for update in range(len(method.updates)):
            method.zero_grad()
            method(batches, Draw(0, "step", number), update).total.backward()
        method.after_step()

    for number in range(2):  # the words of a bag come after a step has told how far the training is
        step(number)
    with Waits() as waits:
        step(2)
    assert waits.found == []


def test_every_policy_of_a_method_is_compiled(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Policy] = []
    create = Policy.__init__

    def noting(policy: Policy, operations: Any) -> None:
        create(policy, operations)
        made.append(policy)

    monkeypatch.setattr(Policy, "__init__", noting)
    method = recipe.new()
    assert set(map(id, policies_of(method))) == set(map(id, made))


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ParameterError, match=r"pretext.simcrl: there is no method of this name"):
        find_method("pretext", "simcrl")
