"""The losses of the semi-supervised methods against naive loops over images."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from repflow.augment.mixing import CutMix, Mixing, Mixup
from repflow.augment.operations import Affine, GaussianNoise
from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import Classifier, HeadConfig, build_encoder
from repflow.encoders.classifier import build_head
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.methods.semisup import distillation, fixmatch, pseudo_label, supervised
from repflow.randomness.draws import Draw

WEAK = (Affine(degrees=10.0),)
STRONG = (Affine(degrees=45.0), GaussianNoise(sigma=(0.2, 0.3)))


def probabilities(classifier: Callable[[Tensor], Tensor], image: Tensor) -> list[float]:
    with torch.no_grad():
        logits = classifier(image[None])[0].double()
    scores = [math.exp(each - logits.max().item()) for each in logits.tolist()]
    return [score / sum(scores) for score in scores]


def cross_entropy(classifier: Classifier, images: Tensor, labels: list[int]) -> list[float]:
    pairs = zip(images, labels, strict=True)
    return [-math.log(probabilities(classifier, image)[label]) for image, label in pairs]


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def test_supervised_is_cross_entropy(classifier: Classifier, batches: Batches) -> None:
    labelled = batches["labelled"]
    found = supervised.Supervised(supervised.Config(), classifier).losses(batches, Draw(0, "step"))
    expected = mean(cross_entropy(classifier, labelled.images, labelled.labels.tolist()))
    assert found.total.item() == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_adds_uniform_targets(classifier: Classifier, batches: Batches) -> None:
    labelled = batches["labelled"]
    config = supervised.Config(label_smoothing=0.2)
    found = supervised.Supervised(config, classifier).losses(batches, Draw(0, "step"))
    hard = mean(cross_entropy(classifier, labelled.images, labelled.labels.tolist()))
    even = mean([mean(cross_entropy(classifier, labelled.images, [k] * 8)) for k in range(10)])
    assert found.total.item() == pytest.approx(0.8 * hard + 0.2 * even, rel=1e-5)


@pytest.mark.parametrize("mix", [Mixup(alpha=1.0), CutMix()], ids=lambda mix: mix.op)
def test_mixed_images_have_mixed_labels(classifier: Classifier, batches: Batches, mix: Mixing) -> None:
    labelled = batches["labelled"]
    found = supervised.Supervised(supervised.Config(mix=mix), classifier).losses(batches, Draw(0, "step"))
    one_hot = torch.eye(10)[labelled.labels]
    images, shares = mix(labelled.images, one_hot, Draw(0, "step").stream("mix"))
    assert not torch.equal(shares, one_hot)
    each = torch.tensor([cross_entropy(classifier, images, [k] * 8) for k in range(10)])  # [classes, B]
    assert found.total.item() == pytest.approx((shares.T * each).sum(0).mean().item(), rel=1e-5)


def test_pseudo_label_adds_cross_entropy_with_its_predictions(classifier: Classifier, batches: Batches) -> None:
    config = pseudo_label.Config(augment=WEAK, weight=3.0, ramp_begin=0.25, ramp_end=0.75)
    found = pseudo_label.PseudoLabel(config, classifier).losses(batches, Draw(0, "step"))
    method = pseudo_label.PseudoLabel(config, classifier)
    labelled, unlabelled = batches["labelled"], batches["unlabelled"]
    draw = Draw(0, "step")
    with_labels = cross_entropy(
        classifier, method.augment(labelled.images, draw.stream("labelled")), labelled.labels.tolist()
    )
    views = method.augment(unlabelled.images, draw.stream("unlabelled"))
    likeliest = [-math.log(max(probabilities(classifier, view))) for view in views]
    assert found.total.item() == pytest.approx(mean(with_labels) + 3.0 * 0.5 * mean(likeliest), rel=1e-5)


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0), (0.1, 0), (0.35, 1.5), (0.6, 3), (0.99, 3)])
def test_the_weight_of_pseudo_labels_is_ramped_up(classifier: Classifier, progress: float, weight: float) -> None:
    method = pseudo_label.PseudoLabel(pseudo_label.Config(weight=3.0), classifier)
    assert method.weight(progress) == pytest.approx(weight)


def test_a_ramp_of_length_0_is_a_step(classifier: Classifier) -> None:
    method = pseudo_label.PseudoLabel(pseudo_label.Config(weight=3.0, ramp_begin=0.5, ramp_end=0.5), classifier)
    assert (method.weight(0.49), method.weight(0.5)) == (0.0, 3.0)


def expected_fixmatch(config: fixmatch.Config, classifier: Classifier, batches: Batches) -> tuple[float, float]:
    """FixMatch's loss and the share of confident guesses."""
    method = fixmatch.FixMatch(config, classifier)
    draw = Draw(0, "step")
    labelled, unlabelled = batches["labelled"], batches["unlabelled"]
    with_labels = cross_entropy(
        classifier, method.weak(labelled.images, draw.stream("labelled")), labelled.labels.tolist()
    )
    weak = method.weak(unlabelled.images, draw.stream("weak"))
    strong = method.strong(unlabelled.images, draw.stream("strong"))
    total, confident = 0.0, 0
    for guessed, view in zip(weak, strong, strict=True):
        guess = probabilities(classifier, guessed)
        if max(guess) >= config.threshold:
            confident += 1
            total -= math.log(probabilities(classifier, view)[guess.index(max(guess))])
    return mean(with_labels) + config.weight * total / len(weak), confident / len(weak)


def test_fixmatch_adds_cross_entropy_with_confident_pseudo_labels(classifier: Classifier, batches: Batches) -> None:
    config = fixmatch.Config(weak=WEAK, strong=STRONG, threshold=0.5, weight=0.7)
    found = fixmatch.FixMatch(config, classifier).losses(batches, Draw(0, "step"))
    expected, confident = expected_fixmatch(config, classifier, batches)
    assert 0.1 < confident < 0.9, "the threshold must split the images for this test to say anything"
    assert found.total.item() == pytest.approx(expected, rel=1e-5)
    assert found.metrics["confident"].item() == pytest.approx(confident)


def test_no_gradient_flows_through_pseudo_labels(classifier: Classifier, batches: Batches) -> None:
    config = fixmatch.Config(weak=WEAK, strong=WEAK, threshold=0.0, weight=1.0)
    method = fixmatch.FixMatch(config, classifier)
    seen: list[tuple[bool, Tensor]] = []
    classifier.register_forward_hook(lambda module, given, logits: seen.append((logits.requires_grad, given[0])))
    method.losses(batches, Draw(0, "step"))
    # Without batch normalisation the weak views need no gradients, so they have a pass of their own.
    assert [(with_gradient, len(images)) for with_gradient, images in seen] == [(False, 24), (True, 32)]


def batch_normalised() -> Classifier:
    """A classifier whose logits depend on all images of a forward pass."""
    torch.manual_seed(0)
    encoder = build_encoder(SmallResNetConfig(widths=(8, 16), contrast=None), 1, 8)
    return Classifier(encoder, build_head(HeadConfig(), encoder.width, 10))


def test_with_batch_normalisation_all_views_of_fixmatch_share_a_pass(batches: Batches) -> None:
    classifier = batch_normalised()
    method = fixmatch.FixMatch(fixmatch.Config(weak=WEAK, strong=STRONG, threshold=0.0), classifier)
    passes: list[Tensor] = []
    classifier.register_forward_hook(lambda module, given, logits: passes.append(logits))
    found = method.losses(batches, Draw(0, "step"))
    assert [len(logits) for logits in passes] == [24 + 8 + 24]
    weak, labelled, strong = passes[0].split([24, 8, 24])
    named = -labelled.log_softmax(1)[torch.arange(8), batches["labelled"].labels].mean()
    guessed = -strong.log_softmax(1)[torch.arange(24), weak.argmax(1)].mean()
    assert found.total.item() == pytest.approx((named + guessed).item(), rel=1e-5)
    assert torch.autograd.grad(found.total, passes[0])[0][:24].abs().max() == 0  # none through the pseudo-labels


def test_with_batch_normalisation_both_views_of_pseudo_label_share_a_pass(batches: Batches) -> None:
    classifier = batch_normalised()
    sizes: list[int] = []
    classifier.register_forward_hook(lambda module, given, logits: sizes.append(len(logits)))
    pseudo_label.PseudoLabel(pseudo_label.Config(), classifier).losses(batches, Draw(0, "step"))
    assert sizes == [8 + 24]


@pytest.mark.parametrize("family", [pseudo_label, fixmatch])
def test_unlabelled_batches_are_larger(family: object, classifier: Classifier) -> None:
    method: fixmatch.FixMatch | pseudo_label.PseudoLabel
    if family is fixmatch:
        method = fixmatch.FixMatch(fixmatch.Config(weak=(), strong=(), unlabelled_ratio=7), classifier)
    else:
        method = pseudo_label.PseudoLabel(pseudo_label.Config(unlabelled_ratio=7), classifier)
    assert method.batch_size("unlabelled", 16) == 112
    assert method.batch_size("labelled", 16) == 16


def test_without_confident_pseudo_labels_fixmatch_is_supervised(classifier: Classifier, batches: Batches) -> None:
    config = fixmatch.Config(weak=(), strong=STRONG, threshold=1.0)

    with torch.no_grad():
        classifier.head[-1].weight.mul_(0.01)
    found = fixmatch.FixMatch(config, classifier).losses(batches, Draw(0, "step"))
    alone = supervised.Supervised(supervised.Config(), classifier).losses(batches, Draw(0, "step"))
    assert torch.equal(found.total, alone.total)


def distilled(classifier: Classifier, batches: Batches, config: distillation.Config) -> distillation.Distillation:
    """Distillation whose teacher was fitted on twenty digits of the batches, which have whole brightnesses then."""
    for batch in batches.streams.values():
        batch.images = (batch.images * 255).round() / 255
    images = torch.cat([batches["labelled"].images, batches["unlabelled"].images])
    pixels = (images * 255).round().to(torch.uint8).numpy()
    batches["unlabelled"].rows = torch.arange(24).flip(0)  # the training set has them in the opposite order
    classes = tuple("0123456789")
    method = distillation.Distillation(config, classifier)
    streams = {
        "labelled": Rows(pixels[:20], np.arange(20) % 10, np.arange(20), classes),
        "unlabelled": Rows(pixels[:7:-1].copy(), np.full(24, -1), np.arange(24), classes),
    }
    method.begin({name: Stream(name, rows) for name, rows in streams.items()}, Draw(0, "begin"))
    return method


def sharpened(method: distillation.Distillation, image: Tensor, power: float) -> list[float]:
    """The teacher's probabilities to some power, summing to 1."""
    raised = [each**power for each in method.teacher(image[None])[0].double().tolist()]
    return [each / sum(raised) for each in raised]


@pytest.mark.parametrize("remembered", [0, 24])
def test_first_distillation_is_cross_entropy_with_the_teacher(
    classifier: Classifier, batches: Batches, remembered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "_REMEMBERED", remembered)
    method = distilled(classifier, batches, distillation.Config(WEAK, STRONG, temperature=0.5, weight=0.7, share=0.6))
    draw, labelled, unlabelled = Draw(0, "step"), batches["labelled"], batches["unlabelled"]
    unlabelled.labels[:2] = torch.tensor([3, 7])  # of labelled images, which are among the unlabelled ones
    strong = method.strong(unlabelled.images, draw.stream("strong"))
    total = 0.0
    for number, (image, view) in enumerate(zip(unlabelled.images, strong, strict=True)):
        target = sharpened(method, image, 2.0) if number > 1 else torch.eye(10)[[3, 7][number]].tolist()
        found = probabilities(classifier, view)
        total -= sum(share * math.log(own) for share, own in zip(target, found, strict=True))
    weak = method.weak(labelled.images, draw.stream("labelled"))
    expected = mean(cross_entropy(classifier, weak, labelled.labels.tolist())) + 0.7 * total / 24
    assert method.losses(batches, Draw(0, "step")).total.item() == pytest.approx(expected, rel=1e-4)


def test_later_distillation_is_fixmatch_with_the_teacher_as_prior(classifier: Classifier, batches: Batches) -> None:
    method = distilled(classifier, batches, distillation.Config(WEAK, STRONG, share=0.5, prior=0.25, threshold=0.3))
    draw, labelled, unlabelled = Draw(0, "step"), batches["labelled"], batches["unlabelled"]
    weak = method.weak(unlabelled.images, draw.stream("weak"))
    strong = method.strong(unlabelled.images, draw.stream("strong"))
    total, confident = 0.0, 0
    for image, guessed, view in zip(unlabelled.images, weak, strong, strict=True):
        prior = [each**0.25 for each in sharpened(method, image, 2.0)]
        product = [own * before for own, before in zip(probabilities(classifier, guessed), prior, strict=True)]
        if max(product) >= 0.3 * sum(product):
            confident += 1
            total -= math.log(probabilities(classifier, view)[product.index(max(product))])
    assert 2 < confident < 22, "the threshold must split the images for this test to say anything"
    own = method.weak(labelled.images, draw.stream("labelled"))
    expected = mean(cross_entropy(classifier, own, labelled.labels.tolist())) + total / 24
    found = method.losses(batches, Draw(0, "step"))
    assert found.total.item() == pytest.approx(expected, rel=1e-4)
    assert found.metrics["confident"].item() == pytest.approx(confident / 24)


def test_the_teacher_stays_as_it_was_fitted(classifier: Classifier, batches: Batches) -> None:
    method = distilled(classifier, batches, distillation.Config((), (), share=1.0)).train()
    before = method.teacher(batches["unlabelled"].images)
    method.losses(batches, Draw(0, "step")).total.backward()
    with torch.no_grad():
        for parameter in method.classifier.parameters():
            parameter.sub_(parameter.grad)
    assert torch.equal(method.teacher(batches["unlabelled"].images), before)
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())
