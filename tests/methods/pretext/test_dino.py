"""DINO's loss against a naive loop over views and images, its head against lightly's, and what is kept at the end."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightly.models.modules import DINOProjectionHead
from sklearn.datasets import load_digits
from torch import Tensor

from repflow.augment.operations import HorizontalFlip, Invert, RandomResizedCrop
from repflow.augment.policy import Policy
from repflow.data.read.batches import Batch, Batches
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.pretext.dino import DINO, Config
from repflow.randomness.draws import Draw, seeded
from repflow.schema import build
from repflow.stages.learning import check_method
from repflow.training import TrainingConfig, train

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)
BATCHES = Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, 0.5)


def made(encoder: Any, batch_norm: bool = False) -> DINO:
    """A method whose teacher is another network than the student, with a centre of its own."""
    torch.manual_seed(0)
    views = (HorizontalFlip(),), (Invert(probability=0.5),), (RandomResizedCrop(scale=(0.3, 0.6), size=8),)
    sizes: dict[str, Any] = {"hidden": 16, "batch_norm": batch_norm, "bottleneck": 8, "outputs": 12}
    config = Config(*views, temperature_warmup=0.8, momentum=0.8, centring=0.75, **sizes)
    method = DINO(config, build_encoder(encoder, 3, 16))
    for weight in method.teacher.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    method.centred.center.normal_(std=0.1)
    return method


@pytest.fixture
def method() -> DINO:
    return made(SmallConfig(widths=(8, 16)))


def views(method: DINO) -> list[Tensor]:
    """Two global views and two local ones, all of the images themselves."""
    draw, config = Draw(0, "step"), method.config
    found = [
        Policy(config.augment)(IMAGES, draw.stream("view-1")),
        Policy(config.second)(IMAGES, draw.stream("view-2")),
    ]
    found += [Policy(config.local)(IMAGES, draw.stream(f"local-{number}")) for number in range(2)]
    assert [view.shape[3] for view in found] == [16, 16, 8, 8]
    return found


@pytest.mark.parametrize(
    ("encoder", "batch_norm"), [(SmallConfig(widths=(8, 16)), True), (SmallResNetConfig(widths=(8, 16)), False)]
)
def test_the_loss_is_the_paper_s_and_the_centre_is_updated_after_the_step(encoder: Any, batch_norm: bool) -> None:
    method = made(encoder, batch_norm).train()
    large, small = torch.cat(views(method)[:2]), torch.cat(views(method)[2:])
    centre = method.centred.center.double().flatten()
    with torch.no_grad():
        teacher = method.teacher(large).double().chunk(2)
        # To the encoder, views of one size are a batch; to the head, all views are.
        features = torch.cat([method.encoder(large), method.encoder(small)])
        student = method.head(features).double().chunk(4)
        loss = method.losses(BATCHES, Draw(0, "step")).total.item()
    temperature = np.interp(0.5, [0, 0.8], [0.04, 0.07])
    terms = []
    for t in range(2):
        for s in range(4):
            for row in range(6):
                wanted = ((teacher[t][row] - centre) / temperature).softmax(0)
                if s != t:
                    terms.append(-(wanted * (student[s][row] / 0.1).log_softmax(0)).sum().item())
    assert loss == pytest.approx(sum(terms) / len(terms), rel=1e-5)

    assert torch.equal(method.centred.center.double().flatten(), centre)
    method.after_step()
    mean = torch.cat(teacher).mean(dim=0)
    assert torch.allclose(method.centred.center.double().flatten(), 0.75 * centre + 0.25 * mean, atol=1e-6)


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.799, 0.8, 0.9])
def test_the_teacher_s_temperature_is_warmed_up_linearly(method: DINO, progress: float) -> None:
    assert method.config.temperature_at(progress) == pytest.approx(np.interp(progress, [0, 0.8, 1], [0.04, 0.07, 0.07]))


def test_the_teacher_changes_by_the_moving_average_only(method: DINO) -> None:
    before = [weight.clone() for weight in method.teacher.parameters()]
    method.losses(BATCHES, Draw(0, "step")).total.backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())
    method.after_step()
    fast = [*method.encoder.parameters(), *method.head.parameters()]
    for slow, was, target in zip(method.teacher.parameters(), before, fast, strict=True):
        assert torch.allclose(slow, 0.9 * was + 0.1 * target, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_head_is_the_paper_s(batch_norm: bool) -> None:
    method = made(SmallConfig(widths=(8, 16)), batch_norm)
    reference = DINOProjectionHead(16, 16, 8, 12, batch_norm=batch_norm)
    reference.layers.load_state_dict(method.head.layers.layers.state_dict())
    reference.last_layer.weight_v.data.copy_(method.head.directions.weight)
    features = torch.randn(5, 16)
    assert torch.allclose(method.head(features), reference(features), atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_the_head_starts_as_the_paper_s() -> None:
    reference = DINOProjectionHead(128, 256, 64, 512)
    with seeded(0, "head"):
        head = DINO(Config((), (), ()), build_encoder(SmallConfig(), 3, 16)).head
    for ours, theirs in zip(head.layers.parameters(), reference.layers.parameters(), strict=True):
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.05)
    assert head.directions.weight.std().item() == pytest.approx(reference.last_layer.weight_v.std().item(), rel=0.05)


LEAST_INFORMATION = 0.1
"""Nats that the teacher's outputs tell about the image."""


def digits(count: int) -> Rows:
    """Grey digits of 16 x 16 pixels."""
    grey = (load_digits().images[:count] * 255 / 16).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    return Rows(grey[:, None].repeat(3, axis=1), np.full(count, -1), np.arange(count), ())


@pytest.fixture(scope="module")
def recipe(configuration: dict[str, Any]) -> Any:
    """The settings, and what else conf/pretrain/dino.yaml says."""
    _, settings, section = check_method(configuration["methods"]["pretrain"]["dino"], "conf/pretrain/dino.yaml")
    return settings, section


def trained(method: DINO, rows: Rows, training: Any, seed: int = 0) -> None:
    train(method, {"unlabelled": rows}, training, prepare(HardwareConfig(threads=1)), seed=seed, silent=True)


class Watched(DINO):
    """Keeps the student, the teacher and the last layer as they were after each step."""

    def after_step(self) -> None:
        super().after_step()
        self.student = {name: each.clone() for name, each in self.encoder.state_dict().items()}
        self.directions = [*getattr(self, "directions", []), self.head.directions.weight.detach().clone()]


@pytest.mark.parametrize("encoder", [SmallConfig(widths=(8, 16)), SmallResNetConfig(widths=(8, 16))])
def test_the_teacher_is_kept(encoder: Any) -> None:
    method = Watched(made(encoder).config, build_encoder(encoder, 3, 16))
    trained(method, digits(32), build(TrainingConfig, {"steps": 3, "batch_size": 8}, "training"))
    teacher = method.teacher.copies[0].state_dict()
    for name, kept in method.encoder.state_dict().items():
        assert torch.equal(kept, teacher[name]), name
    assert any(not torch.equal(kept, method.student[name]) for name, kept in method.encoder.state_dict().items())


def test_the_last_layer_is_frozen_at_first_and_decay_increases(recipe: Any) -> None:
    settings, section = recipe
    optimizer = section.training.optimizer
    assert 0 < optimizer.modules["head.directions"].frozen < 0.2
    assert (optimizer.weight_decay, optimizer.final_weight_decay) == (0.04, 0.4)
    longer = {name: replace(each, frozen=0.5) for name, each in optimizer.modules.items()}
    method = Watched(settings, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    before = method.head.directions.weight.detach().clone()
    trained(
        method,
        digits(32),
        replace(section.training, optimizer=replace(optimizer, modules=longer), steps=4, batch_size=8),
    )
    assert [not torch.equal(each, before) for each in method.directions] == [False, False, True, True]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_outputs_do_not_collapse_at_the_paper_s_clip(recipe: Any, seed: int) -> None:
    settings, section = recipe
    assert section.training.clip == 3
    with seeded(seed, "weights"):
        method = DINO(settings, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    rows = digits(256)
    trained(method, rows, replace(section.training, steps=40, batch_size=32), seed)
    method.train()  # as the head is while the student learns from it
    with torch.no_grad():
        outputs = method.teacher(torch.from_numpy(rows.images).float() / 255) - method.centred.center[0]
        shares = (outputs / 0.07).softmax(1)
    entropy_of_each = -(shares * shares.log()).sum(1).mean()
    shares = shares.mean(0)
    # Both are equal where all images have the same outputs: one peak, or none.
    assert -(shares * shares.log()).sum() - entropy_of_each > LEAST_INFORMATION
