"""DINO's loss against a naive loop over views and images, and its head against lightly's."""

import pytest
import torch
from lightly.models.modules import DINOProjectionHead

from repflow.augment.operations import HorizontalFlip, RandomResizedCrop
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.dino import DINO, Config
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)
BATCHES = Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, 0.5)


@pytest.fixture
def method() -> DINO:
    """A method whose teacher is another network than the student, with a centre of its own."""
    torch.manual_seed(0)
    small = (RandomResizedCrop(scale=(0.3, 0.6), size=8),)
    config = Config((HorizontalFlip(),), small, hidden=16, bottleneck=8, outputs=12, momentum=0.8, centring=0.75)
    method = DINO(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    for weight in method.teacher.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    method.centred.center.normal_(std=0.1)
    return method


def test_the_loss_is_the_paper_s_and_the_centre_is_updated_after_the_step(method: DINO) -> None:
    draw = Draw(0, "step")
    views = [method.augment(IMAGES, draw.stream(f"view-{number}")) for number in (1, 2)]
    for number in range(2):
        stream = draw.stream(f"small-{number}")
        views.append(method.shrink(method.augment(IMAGES, stream.stream("view")), stream))
    assert [view.shape[3] for view in views] == [16, 16, 8, 8]
    centre = method.centred.center.double().flatten()
    with torch.no_grad():
        teacher = [method.teacher(view).double() for view in views[:2]]
        student = [method.head(method.encoder(view)).double() for view in views]
        loss = method.losses(BATCHES, Draw(0, "step")).total.item()
    terms = []
    for t in range(2):
        for s in range(4):
            for row in range(6):
                wanted = ((teacher[t][row] - centre) / 0.04).softmax(0)
                if s != t:
                    terms.append(-(wanted * (student[s][row] / 0.1).log_softmax(0)).sum().item())
    assert loss == pytest.approx(sum(terms) / len(terms), rel=1e-5)

    assert torch.equal(method.centred.center.double().flatten(), centre)
    method.after_step()
    mean = torch.cat(teacher).mean(dim=0)
    assert torch.allclose(method.centred.center.double().flatten(), 0.75 * centre + 0.25 * mean, atol=1e-6)


def test_the_teacher_changes_by_the_moving_average_only(method: DINO) -> None:
    before = [weight.clone() for weight in method.teacher.parameters()]
    method.losses(BATCHES, Draw(0, "step")).total.backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())
    method.after_step()
    fast = [*method.encoder.parameters(), *method.head.parameters()]
    for slow, was, target in zip(method.teacher.parameters(), before, fast, strict=True):
        assert torch.allclose(slow, 0.9 * was + 0.1 * target, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_the_head_is_the_paper_s(method: DINO) -> None:
    reference = DINOProjectionHead(16, 16, 8, 12)
    reference.layers.load_state_dict(method.head.layers.layers.state_dict())
    reference.last_layer.weight_v.data.copy_(method.head.directions.weight)
    features = torch.randn(5, 16)
    assert torch.allclose(method.head(features), reference(features), atol=1e-6)
