"""Batches are a function of the step, in memory or memory-mapped, and with any number of processes."""

import numpy as np
import pytest
import torch

from repflow.data.read.batches import Stream
from repflow.data.read.memory_mapped import LazyImages
from repflow.data.read.rows import Rows


@pytest.fixture
def rows() -> Rows:
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 4, 4), np.uint8)
    return Rows(images, np.arange(50) % 10, np.arange(50), tuple("0123456789"))


@pytest.fixture
def filed(rows: Rows) -> Rows:
    """The same rows, memory-mapped."""
    return Rows(LazyImages([(np.asarray(rows.images), np.arange(50))]), rows.labels, rows.index, rows.classes)


def test_every_row_comes_once_an_epoch(rows: Rows) -> None:
    stream = Stream("unlabelled", rows)
    seen = torch.cat([stream.at(step, 10, seed=0).rows for step in range(10)])
    for epoch in seen.split(50):
        assert sorted(epoch.tolist()) == list(range(50))
    assert not torch.equal(seen[:50], seen[50:])


def test_a_batch_may_be_larger_than_the_stream(rows: Rows) -> None:
    taken = Stream("unlabelled", rows).at(0, 120, seed=0).rows
    assert sorted(taken[:100].tolist()) == sorted([*range(50)] * 2)


def test_images_in_a_file_come_in_the_same_batches(rows: Rows, filed: Rows) -> None:
    held, read = Stream("unlabelled", rows), Stream("unlabelled", filed)
    for step in (0, 1, 2, 7, 7, 3):  # in order, as in training, and not, as after a restart
        one, other = held.at(step, 12, seed=3), read.at(step, 12, seed=3)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.rows, other.rows)
    for one, other in zip(held.in_order(16), read.in_order(16), strict=True):
        assert torch.equal(one.images, other.images)


def test_the_next_batch_is_prefetched(filed: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream("unlabelled", filed)
    stream.at(0, 12, seed=0)
    assert stream._ahead is not None
    coming = stream._ahead[1].result()
    monkeypatch.setattr(stream, "_gather", pytest.fail)  # what was read is not read again
    stream._reader = type("Idle", (), {"submit": staticmethod(lambda *given: None)})()
    assert stream.at(1, 12, seed=0) is coming


def test_processes_divide_every_batch(rows: Rows) -> None:
    whole = Stream("labelled", rows)
    shares = [Stream("labelled", rows, rank=rank, ranks=3) for rank in range(3)]
    for step in range(5):
        together = whole.at(step, 12, seed=1)
        for rank, share in enumerate(shares):
            mine = share.at(step, 12, seed=1)
            assert torch.equal(mine.rows, together.rows[rank::3])
            assert torch.equal(mine.images, together.images[rank::3])
