"""Momentum networks, and the queues of features and keys."""

import copy
import math

import pytest
import torch
from torch import nn

from repflow.methods.parts.momentum import MomentumNetwork, cosine_momentum
from repflow.methods.parts.queue import FeatureQueue, KeyQueue


def test_a_momentum_network_is_updated_by_its_momentum_only() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    slow = MomentumNetwork(first, second)
    before = copy.deepcopy(slow.state_dict())
    images = torch.randn(5, 3)
    assert torch.equal(slow(images), second(first(images)))
    assert not slow(images).requires_grad
    assert not any(each.requires_grad for each in slow.parameters())
    assert all(each.requires_grad for each in (*first.parameters(), *second.parameters()))
    with torch.no_grad():
        for weight in (*first.parameters(), *second.parameters()):
            weight.normal_()
    slow.update(first, second, momentum=0.75)
    now = dict(zip(before, (*first.parameters(), *second.parameters()), strict=True))
    for name, weight in slow.state_dict().items():
        assert torch.allclose(weight, 0.75 * before[name] + 0.25 * now[name], atol=1e-6), name


def test_the_momentum_rises_to_one_along_a_cosine() -> None:
    assert cosine_momentum(0.9, 0.0) == pytest.approx(0.9)
    assert cosine_momentum(0.9, 0.5) == pytest.approx(0.95)
    assert cosine_momentum(0.9, 0.25) == pytest.approx(1 - 0.1 * (1 + math.sqrt(0.5)) / 2)
    assert cosine_momentum(0.9, 1.0) == pytest.approx(1.0)


def test_a_queue_keeps_the_newest_and_knows_when_it_is_full() -> None:
    queue = FeatureQueue(5, 2)
    assert torch.allclose(queue.rows.norm(dim=1), torch.ones(5))
    first, second = torch.arange(6.0).view(3, 2), 10 + torch.arange(6.0).view(3, 2)
    queue.push(first)
    assert torch.equal(queue.rows[:3], first)
    assert not queue.full
    queue.push(second)
    assert torch.equal(queue.rows, torch.cat([second, first[:2]]))
    assert queue.full
    other = FeatureQueue(5, 2)
    other.load_state_dict(queue.state_dict())
    assert other.full


def test_a_queue_can_be_bounded_by_the_number_of_images() -> None:
    queue = FeatureQueue(8, 2)
    before = queue.rows.clone()
    queue.bound(20)
    assert torch.equal(queue.rows, before)
    queue.bound(3)
    assert torch.equal(queue.rows, before[:3])
    queue.push(torch.arange(6.0).view(3, 2))
    assert queue.full
    assert torch.equal(queue.state_dict()["rows"], torch.arange(6.0).view(3, 2))


def test_a_key_is_no_negative_of_its_image_nor_where_its_image_has_a_newer_one() -> None:
    queue = KeyQueue(5, 2)
    images = torch.tensor([4, 7])
    assert queue.negatives(images).all()  # random vectors
    queue.enqueue(torch.ones(2, 2), torch.tensor([4, 5]))
    queue.enqueue(torch.zeros(2, 2), torch.tensor([5, 6]))
    assert queue.images[:3].tolist() == [5, 6, 4]
    assert torch.equal(queue.rows[:4, 0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    # Keys of 5, 6, 4, and the older one of 5.
    assert queue.negatives(images)[:, :4].tolist() == [[True, True, False, False], [True, True, True, False]]
    other = KeyQueue(5, 2)
    other.load_state_dict(queue.state_dict())
    assert torch.equal(other.negatives(images), queue.negatives(images))
