"""DeepCluster: pseudo-labels, cluster weights and resets of the head."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.clustering.deepcluster import Config, DeepCluster, balance, clusters_of
from repflow.randomness.draws import Draw, seeded

DIGITS = load_digits()
IMAGES = (DIGITS.images[:100, None] * 255 / 16).astype(np.uint8)
STREAM = Stream("unlabelled", Rows(IMAGES, np.full(100, -1), np.arange(100), ("any",)))


def started() -> DeepCluster:
    with seeded(0, "weights"):
        method = DeepCluster(
            Config(augment=(), clusters=12, components=8, every=3), build_encoder(SmallConfig(widths=(8, 16)), 1, 8)
        )
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
