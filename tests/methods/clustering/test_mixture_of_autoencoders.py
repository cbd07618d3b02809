"""The mixture of autoencoders: losses, assignments, gradients on two processes, shared and separate encoders."""

import math

import pytest
import torch
from torch import Tensor

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.build import ConcatenatedConfig
from repflow.encoders.concatenated import ConcatenatedEncoder
from repflow.encoders.convolutional import SmallConfig
from repflow.errors import ParameterError
from repflow.methods.clustering import mixture_of_autoencoders
from repflow.methods.clustering.mixture_of_autoencoders import Config, MixtureOfAutoencoders, entropy, mean_of_all
from repflow.randomness.draws import Draw, seeded

IMAGES = Draw(0, "images").uniform(6, 1, 8, 8)
SETTINGS = Config(clusters=3, codes=4, hidden=8, decoder=(4, 4), sample_entropy=0.3, batch_entropy=0.7)


def method(parts: int = 0) -> MixtureOfAutoencoders:
    """With an encoder that all autoencoders share, or with one of `parts` parts."""
    part = SmallConfig(widths=(8, 16))
    with seeded(0, "weights"):
        encoder = build_encoder(ConcatenatedConfig(parts=(part,) * parts) if parts else part, 1, 8)
        return MixtureOfAutoencoders(SETTINGS, encoder)


def batches(images: Tensor) -> Batches:
    return Batches({"unlabelled": Batch(images, torch.full((len(images),), -1), torch.arange(len(images)))}, 0.0)


@pytest.mark.parametrize("parts", [0, 3])
def test_the_loss_equals_a_loop_over_images_and_autoencoders(parts: int) -> None:
    mixture = method(parts)
    found = mixture.losses(batches(IMAGES), Draw(0, "step"))
    error, sample, mean = 0.0, 0.0, [0.0] * 3
    with torch.no_grad():
        for image in IMAGES:
            codes = mixture.codes(mixture.encoder(image[None]))
            shares = mixture.assignment(codes)[0].double().softmax(0).tolist()
            for number, share in enumerate(shares):
                restored = mixture.decoders[number](codes[:, 4 * number : 4 * number + 4], (8, 8))[0]
                error += share * ((restored - image).double() ** 2).sum().item() / 64 / 6
                sample -= share * math.log(share) / 6
                mean[number] += share / 6
    whole = -sum(share * math.log(share) for share in mean)
    assert found.metrics["error"].item() == pytest.approx(error, rel=1e-5)
    assert found.total.item() == pytest.approx(error + 0.3 * sample - 0.7 * whole, rel=1e-5)


def test_entropies_are_finite_and_right_at_the_corners() -> None:
    shares = torch.tensor([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert entropy(shares).tolist() == pytest.approx([0.0, math.log(3)])
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)  # shares that rounding makes 0
    (slope,) = torch.autograd.grad(entropy(logits.softmax(1)).sum(), logits)
    assert slope.tolist() == [[0.0, 0.0, 0.0]]


def test_two_processes_have_the_gradients_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = Draw(0, "logits").normal(6, 3).requires_grad_()
    (alone,) = torch.autograd.grad(entropy(mean_of_all(logits.softmax(1))), logits)
    monkeypatch.setattr(mixture_of_autoencoders, "gathered", lambda _: logits.softmax(1).detach())
    shared = torch.zeros_like(logits)
    for rank in range(2):  # each holds every second row; their gradients are averaged
        value = entropy(mean_of_all(logits[rank::2].softmax(1)))
        shared += torch.autograd.grad(value, logits)[0] / 2
    assert torch.allclose(shared, alone, atol=1e-7)


def test_images_are_assigned_to_the_most_probable_autoencoder() -> None:
    mixture = method()
    with torch.no_grad():
        mixture.assignment[-1].bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    assert torch.equal(mixture.assign(IMAGES), torch.ones(6, dtype=torch.int64))


def test_figures_are_from_the_autoencoder_of_the_image_s_cluster() -> None:
    mixture = method().eval()
    with torch.no_grad():
        mixture.assignment[-1].bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
        for number, decoder in enumerate(mixture.decoders):
            decoder.last.bias.fill_(0.3 * (number + 1))
        own = mixture.decoders[1](mixture.codes(mixture.encoder(IMAGES))[:, 4:8], (8, 8)).clamp(0, 1)
    figures = mixture.figures(IMAGES)
    assert torch.equal(figures[:, 0], IMAGES)
    assert torch.allclose(figures[:, 1], own, atol=1e-6)
    assert own.mean().item() == pytest.approx(0.6, abs=0.15)


def test_autoencoders_share_nothing_where_each_has_an_encoder() -> None:
    """The reconstructions of one depend on no weights of the others; the assignment on all codes."""
    mixture = method(parts=3)
    assert isinstance(mixture.encoder, ConcatenatedEncoder)
    codes = mixture.codes(mixture.encoder(IMAGES))
    restored = mixture.reconstruct(codes, (8, 8))
    for number in range(3):
        mixture.zero_grad()
        restored[:, number].square().sum().backward(retain_graph=True)
        for other, part in enumerate(mixture.encoder.parts):
            moved = [weight.grad is not None and bool(weight.grad.any()) for weight in part.parameters()]
            assert any(moved) == (other == number), (number, other)
    mixture.zero_grad()
    mixture.assignment(codes)[:, 0].sum().backward()
    assert all(any(weight.grad.any() for weight in part.parameters()) for part in mixture.encoder.parts)  # type: ignore[union-attr]
    by_hand = torch.cat(
        [each(part(IMAGES)) for each, part in zip(mixture.codes.maps, mixture.encoder.parts, strict=True)],
        dim=1,
    )
    assert torch.allclose(codes, by_hand, atol=1e-6)


def test_there_is_an_encoder_for_every_cluster_or_one_for_all() -> None:
    with pytest.raises(ParameterError, match=r"2 encoders for settings.clusters: 3 autoencoders"):
        method(parts=2)
