"""The bag of visual words: phases, histogram and loss against naive loops over local features and words."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from repflow.augment.operations import HorizontalFlip
from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.errors import ParameterError
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.pretext.bag_of_visual_words import BagOfVisualWords, Config
from repflow.methods.pretext.rotation import Rotation
from repflow.randomness.draws import Draw
from repflow.training import TrainingConfig, train

DIGITS = (load_digits().images[:60, None] * 255 / 16).astype(np.uint8).repeat(2, axis=2).repeat(2, axis=3)
ROWS = Rows(DIGITS, np.full(60, -1), np.arange(60), ())
STREAMS = {"unlabelled": Stream("unlabelled", ROWS)}


def made(words: int = 7, images: int = 40) -> BagOfVisualWords:
    torch.manual_seed(0)
    config = Config(perturb=(HorizontalFlip(probability=1.0),), bootstrap=0.5, words=words, images=images, softness=0.5)
    return BagOfVisualWords(config, build_encoder(SmallConfig(widths=(8, 16)), 1, 16)).train()


def batch(progress: float) -> Batches:
    return Batches({"unlabelled": STREAMS["unlabelled"].at(0, 4, seed=0)}, progress)


def grown() -> BagOfVisualWords:
    """A method at the beginning of its second phase."""
    method = made()
    method.losses(batch(0.5), Draw(0, "step"))
    with torch.no_grad():
        method.refresh(1, STREAMS, Draw(0, "refresh", 1))
        for weight in method.encoder.parameters():  # the encoder goes its own way from here on
            weight += 0.01
    return method


def learning(method: BagOfVisualWords) -> set[str]:
    return {name.split(".")[0] for name, each in method.named_parameters() if each.requires_grad}


def test_the_second_phase_starts_after_the_bootstrap_fraction() -> None:
    method = made()
    method.losses(batch(0.4), Draw(0, "step"))
    method.refresh(1, STREAMS, Draw(0, "refresh", 1))
    assert learning(method) == {"encoder", "rotation"}
    assert isinstance(method.rotation, Rotation)
    loss = method.losses(batch(0.5), Draw(0, "step"))
    assert loss.total.item() == pytest.approx(method.rotation.losses(batch(0.5), Draw(0, "step")).total.item())
    before = {name: weight.clone() for name, weight in method.encoder.state_dict().items()}
    with torch.no_grad():
        method.refresh(2, STREAMS, Draw(0, "refresh", 2))
    assert learning(method) == {"encoder", "head", "sharpness"}
    for name, weight in method.bootstrap.state_dict().items():
        assert torch.equal(weight, before[name]), name
    words = method.vocabulary.clone()
    method.losses(batch(0.6), Draw(0, "step"))
    method.refresh(3, STREAMS, Draw(0, "refresh", 3))
    assert torch.equal(words, method.vocabulary), "words are made once"


def test_the_loss_is_cross_entropy_of_the_clean_image_s_words_and_the_perturbed_one_s_features() -> None:
    method = grown()
    images = batch(0.6)["unlabelled"].images
    total = 0.0
    with torch.no_grad():
        words = method.vocabulary.double().numpy()
        for image in images:
            maps = method.bootstrap.maps(image[None])[0].double().numpy()
            histogram = np.zeros(7)
            for row in range(maps.shape[1]):
                for column in range(maps.shape[2]):
                    far = [((maps[:, row, column] - word) ** 2).sum() for word in words]
                    votes = np.exp(-(np.array(far) - min(far)) / (0.5 * method.spread.item()))
                    histogram += votes / votes.sum() / (maps.shape[1] * maps.shape[2])
            feature = method.encoder(image[None].flip(3))[0].double()
            cosines = torch.cosine_similarity(feature, method.head.weight.double()).numpy() * 10
            total -= (histogram * (cosines - math.log(np.exp(cosines).sum()))).sum()
    found = method.losses(batch(0.6), Draw(0, "step")).total
    assert found.item() == pytest.approx(total / 4, rel=1e-4)


def test_words_are_centres_of_the_places_that_are_nearest_to_them() -> None:
    method = grown()
    rows = Draw(0, "refresh", 1).permutation(60)[:40]
    places = method.local_features(STREAMS["unlabelled"].take(rows).images).flatten(0, 1)
    far = torch.cdist(places, method.vocabulary)
    for word in range(7):
        assert torch.allclose(places[far.argmin(1) == word].mean(0), method.vocabulary[word], atol=1e-3)
    assert method.spread.item() == pytest.approx(far.min(1).values.square().mean().item(), rel=1e-3)


def test_gradients_reach_only_the_modules_of_the_second_phase() -> None:
    method = grown()
    loss = method.losses(batch(0.6), Draw(0, "step")).total
    loss.backward()
    for name, weight in method.named_parameters():
        assert (weight.grad is not None and bool(weight.grad.abs().sum() > 0)) == weight.requires_grad, name


def test_a_loaded_state_restores_the_phase() -> None:
    method, other = grown(), made()
    other.load_state_dict(method.state_dict())
    assert learning(other) == learning(method)
    one, two = (each.losses(batch(0.6), Draw(0, "step")).total for each in (method, other))
    assert torch.equal(one, two)
    assert not other.bootstrap.training


def test_the_loop_goes_through_both_phases() -> None:
    method = made()
    config = TrainingConfig(steps=6, batch_size=8, log_every=3)  # the second point is of both phases
    curve = train(method, {"unlabelled": ROWS}, config, prepare(HardwareConfig(threads=1)), seed=0).curve
    assert method.has_words
    assert [math.isfinite(point["accuracy"]) for point in curve] == [True, True]


def test_more_words_than_local_features_are_refused() -> None:
    method = made(words=1000)
    method.losses(batch(0.5), Draw(0, "step"))
    with pytest.raises(ParameterError, match=r"1000 .* there are 640 different local features"), torch.no_grad():
        method.refresh(1, STREAMS, Draw(0, "refresh", 1))


def test_copies_of_an_image_bring_no_new_words() -> None:
    copies = Stream("unlabelled", Rows(DIGITS[:60] * 0 + DIGITS[:1], np.full(60, -1), np.arange(60), ()))
    method = made(words=17)
    method.losses(batch(0.5), Draw(0, "step"))
    with pytest.raises(ParameterError, match=r"17 .* there are 16 different local features"), torch.no_grad():
        method.refresh(1, {"unlabelled": copies}, Draw(0, "refresh", 1))


def test_the_spread_is_far_above_rounding_where_every_place_is_a_word() -> None:
    method = made(words=160, images=10)
    method.losses(batch(0.5), Draw(0, "step"))
    with torch.no_grad():
        method.refresh(1, STREAMS, Draw(0, "refresh", 1))
    variance = (method.vocabulary - method.vocabulary.mean(dim=0)).square().sum(dim=1).mean()
    assert method.spread.item() == pytest.approx(0.01 * variance.item(), rel=1e-4)


def test_any_of_the_most_frequent_words_is_right() -> None:
    method = grown()
    shares = torch.tensor([[0.1, 0.3, 0.3 - 1e-7, 0.1, 0.1, 0.05, 0.05]])
    method.histogram = lambda places: shares.expand(len(places), -1)  # type: ignore[method-assign]
    for word, right in ((1, 1.0), (2, 1.0), (3, 0.0)):
        with torch.no_grad():
            method.head.weight.zero_()
            method.head.weight[word] = method.encoder(batch(0.6)["unlabelled"].images.flip(3)).mean(dim=0)
        assert method.losses(batch(0.6), Draw(0, "step")).metrics["accuracy"] == right


@pytest.mark.parametrize("words", [40, 120, 160])
@pytest.mark.parametrize("seed", range(6))
def test_the_last_digits_of_the_features_do_not_choose_the_words(words: int, seed: int) -> None:
    """With 160 words, every place is one of its own."""
    expected = with_noise(words, seed, 0, 0.0)
    for other in range(3):
        for name, value in with_noise(words, seed, other, 1e-15).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-5, msg=f"{name}, noise {other}")


def with_noise(words: int, seed: int, noise_seed: int, noise: float) -> dict[str, Tensor]:
    """What comes of a method that makes its words from the features of ten images with this relative noise."""
    method = made(words, images=10)
    features, generator = method.local_features, torch.Generator().manual_seed(noise_seed)

    def noisy(images: Tensor) -> Tensor:
        exact = features(images).double()
        return exact * (1 + noise * torch.randn(exact.shape, generator=generator, dtype=torch.float64))

    method.local_features = noisy  # type: ignore[method-assign]
    method.losses(batch(0.5), Draw(0, "step"))
    with torch.no_grad():
        method.refresh(1, STREAMS, Draw(seed, "refresh", 1))
        losses = method.losses(batch(0.6), Draw(0, "step"))
    return {"words": method.vocabulary, "spread": method.spread, "loss": losses.total, **losses.metrics}


def test_words_may_be_made_of_an_earlier_layer() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(SmallConfig(widths=(8, 16)), 1, 16)
    method = BagOfVisualWords(Config(perturb=(), words=7, images=40, layer=3), encoder).train()
    assert method.vocabulary.shape == (7, 8)
    images = STREAMS["unlabelled"].at(0, 4, seed=0).images
    first = method.bootstrap.body.maps[0](method.bootstrap.normalise(images))
    assert torch.equal(method.local_features(images), first.flatten(2).transpose(1, 2))
    with torch.no_grad():
        method.build_vocabulary(STREAMS["unlabelled"], Draw(0, "refresh", 1))
    assert method.histogram(method.local_features(images)).sum(1).tolist() == pytest.approx([1.0] * 4)
    last = BagOfVisualWords(Config(perturb=(), words=7, images=40), encoder).train()
    assert torch.equal(last.local_features(images), last.bootstrap.maps(images).flatten(2).transpose(1, 2))


def test_a_layer_that_the_encoder_does_not_have_is_refused() -> None:
    with pytest.raises(ParameterError, match="the encoder has 3 layers, not 4"):
        BagOfVisualWords(Config(perturb=(), layer=4), build_encoder(SmallConfig(widths=(8, 16)), 1, 16))
