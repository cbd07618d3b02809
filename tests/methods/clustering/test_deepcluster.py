"""DeepCluster: pseudo-labels, cluster weights, new heads, and when there is one."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.clustering.deepcluster import Config, DeepCluster, balance, clusters_of, interval
from repflow.randomness.draws import Draw, seeded

DIGITS = load_digits()
IMAGES = (DIGITS.images[:100, None] * 255 / 16).astype(np.uint8)
STREAM = Stream("unlabelled", Rows(IMAGES, np.full(100, -1), np.arange(100), ("any",)))


def started(**settings: Any) -> DeepCluster:
    config = Config(**{"augment": (), "clusters": 12, "components": 8, "every": 3, **settings})
    with seeded(0, "weights"):
        method = DeepCluster(config, build_encoder(SmallConfig(widths=(8, 16)), 1, 8))
    method.begin({"unlabelled": STREAM}, Draw(0, "begin"))
    refresh(method, 0)
    return method.train()


def refresh(method: DeepCluster, step: int) -> None:
    with torch.no_grad():
        method.refresh(step, {"unlabelled": STREAM}, Draw(0, "refresh", step))


def test_the_loss_is_each_image_s_cross_entropy_over_the_size_of_its_cluster() -> None:
    method = started()
    batch = STREAM.take(torch.tensor([3, 50, 97, 8]))
    loss = method.losses(Batches({"unlabelled": batch}, 0.0), Draw(0, "step")).total
    expected = 0.0
    for image, row in zip(batch.images, batch.rows, strict=True):
        label = int(method.labels[row])
        logits = method.head(method.encoder(image[None]))[0].double()
        size = sum(int(each) == label for each in method.labels)
        expected += 100 / (12 * size) * (logits.exp().sum().log() - logits[label]).item() / 4
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_clusters_have_equal_total_weight() -> None:
    labels = torch.tensor([0] * 7 + [2] * 2 + [3])
    weights = balance(labels, 5)
    per_cluster = [weights[labels[labels == cluster]].sum().item() for cluster in (0, 2, 3)]
    assert per_cluster == pytest.approx([10 / 3] * 3)
    assert weights[labels].mean().item() == pytest.approx(1)


def test_clusters_are_found_and_none_is_empty() -> None:
    around = np.eye(6)[np.arange(120) % 6] * 5
    features = around + Draw(0, "around").normal(120, 6).numpy() * 0.1
    found = clusters_of(features, 6, 6, seed=1)
    assert all(len(set(found[np.arange(120) % 6 == group])) == 1 for group in range(6))
    assert len(set(clusters_of(features, 40, 6, seed=1))) == 40
    assert np.array_equal(clusters_of(features, 40, 6, seed=1), clusters_of(features, 40, 6, seed=1))


@pytest.mark.parametrize(("count", "clusters"), [(300, 12), (30, 30), (30, 20)])
@pytest.mark.parametrize("seed", range(3))
def test_the_last_digits_of_the_features_do_not_choose_the_clusters(count: int, clusters: int, seed: int) -> None:
    """Half of the channels are dead, or in proportion to others; 30 images vary in 29 directions."""
    generator = np.random.default_rng(seed)
    varied = (DIGITS.data[:count] @ generator.normal(size=(64, 40))).clip(min=0)
    features = np.concatenate([varied, 2 * varied[:, :20], np.zeros((count, 20)), np.full((count, 5), 1e3)], axis=1)
    expected = clusters_of(features, clusters, 60, seed)
    for _ in range(3):
        noise = 1 + 1e-15 * generator.standard_normal(features.shape)
        assert np.array_equal(clusters_of(features * noise, clusters, 60, seed), expected)


def test_features_that_are_all_the_same_are_one_cluster() -> None:
    noise = 1 + 1e-15 * np.random.default_rng(0).standard_normal((50, 8))
    assert clusters_of(3 * noise, 5, 8, seed=0).tolist() == [0] * 50


def test_the_head_is_reset_at_every_reassignment_only() -> None:
    method = started()
    head, labels = method.head, method.labels.clone()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    refresh(method, 1)
    assert method.head is head
    with torch.no_grad():
        for weight in method.encoder.parameters():
            weight.add_(Draw(1, "moved").normal(*weight.shape) * 0.1)
    refresh(method, 3)
    assert method.head is not head
    assert not torch.equal(method.labels, labels)
    assert torch.equal(method.labels.bincount(minlength=12) > 0, torch.ones(12, dtype=torch.bool))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert method.training
    assert method.encoder.training


def test_images_are_assigned_to_the_head_s_prediction() -> None:
    method = started().eval()
    images = STREAM.take(torch.arange(10)).images
    found = method.assign(images)
    assert found.dtype == torch.int64
    assert found.tolist() == [int(method.head(method.encoder(image[None])).argmax()) for image in images]


def test_a_new_head_has_small_weights() -> None:
    """N(0, 0.01^2) and no bias, as in the paper; the linear layer of PyTorch would have a deviation of 0.14 here."""
    for clusters in (12, 60):
        head = started(clusters=clusters).head
        assert head.weight.std().item() == pytest.approx(0.01, rel=0.15)
        assert head.weight.mean().abs() < 0.002
        assert not head.bias.any()


def reassigned(method: DeepCluster, steps: int, size: int = 10, first: int = 0) -> list[int]:
    """Steps of a training of `steps` steps in which there is a new head, without the first one."""
    found = []
    for step in range(first, steps):
        head = method.head
        if step:
            refresh(method, step)
        if method.head is not head:
            found.append(step)
        batch = STREAM.at(step, size, seed=0)
        method.losses(Batches({"unlabelled": batch}, step / steps), Draw(0, "step", step))
    return found


def test_clusters_are_reassigned_once_an_epoch() -> None:
    """100 images in batches of 10; of several processes, each has a part of the batch."""
    assert reassigned(started(every=None, settling=2), 45) == [5, 10, 15, 20, 25, 30, 35, 40]
    method = started(every=None, settling=2, reassignments=3)
    assert reassigned(method, 45) == [10, 20, 30, 40]
    method = started(every=None, settling=2, reassignments=3)
    half = Batches({"unlabelled": STREAM.at(1, 5, seed=0)}, 1 / 45)
    method.losses(half, Draw(0, "step", 1, rank=1, ranks=2))
    assert method.interval == 10


def test_clusters_are_reassigned_more_often_in_a_short_training_and_less_often_with_few_images() -> None:
    config = Config(augment=(), reassignments=8, settling=20)
    assert interval(config, images=50_000, size=128, steps=781) == 97, "eight times in two epochs"
    assert interval(config, images=50_000, size=128, steps=7810) == 391, "once an epoch"
    assert interval(config, images=725, size=128, steps=312) == 20, "an epoch of 6 steps is too short for a new head"
    assert interval(config, images=725, size=128, steps=40) == 20


def test_a_number_of_steps_may_be_given() -> None:
    assert reassigned(started(every=7), 30) == [7, 14, 21, 28]


def test_a_resumed_training_reassigns_at_the_same_steps() -> None:
    method = started(every=None, settling=2, reassignments=4)
    assert reassigned(method, 21) == [5, 10, 15, 20]
    again = started(every=None, settling=2, reassignments=4)
    again.load_state_dict(method.state_dict())
    assert reassigned(again, 21, first=15) == [15, 20]


def test_an_mlp_is_kept_and_its_output_before_the_last_relu_is_clustered(monkeypatch: pytest.MonkeyPatch) -> None:
    method = started(hidden=(20, 10))
    seen: list[np.ndarray] = []

    def clustered(features: np.ndarray, *others: int) -> np.ndarray:
        seen.append(features)
        return clusters_of(features, *others)

    monkeypatch.setattr("repflow.methods.clustering.deepcluster.clusters_of", clustered)
    first, second = (method.projection[number] for number in (0, 2))
    refresh(method, 3)
    assert [method.projection[number] for number in (0, 2)] == [first, second]
    images = STREAM.take(torch.arange(100)).images
    with torch.no_grad():
        hidden = (method.encoder(images) @ first.weight.T + first.bias).clamp(min=0)
        output = hidden @ second.weight.T + second.bias
        assert np.allclose(seen[0], output.numpy(), atol=1e-5)
        assert (output < 0).any()
        logits = output.clamp(min=0) @ method.head.weight.T + method.head.bias
        assert torch.allclose(method.classify(images), logits, atol=1e-5)
