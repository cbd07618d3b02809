"""Policies: built from conf/augment/, right for what they are for, and a function of the draw."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from repflow.augment import Policy, PolicyConfig
from repflow.draw import Draw
from repflow.errors import ParameterError
from repflow.schema import build

CONF = Path(__file__).parents[2] / "conf" / "augment"
KINDS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONF.glob("*.yaml"))}
POLICIES = [(kind, name) for kind, policies in KINDS.items() for name in policies]


def policy(operations: Any) -> Policy:
    return Policy(build(PolicyConfig, operations, "augment"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "name"), POLICIES)
def test_every_policy_makes_images(kind: str, name: str, images: Tensor) -> None:
    after = policy(KINDS[kind][name])(images.clone().requires_grad_(), Draw(0, "test"))
    assert after.shape == images.shape
    assert 0 <= after.min() <= after.max() <= 1
    assert name == "none" or not after.requires_grad, "no gradient flows back through an augmentation"


def test_every_kind_of_images_has_the_same_policies() -> None:
    names = {kind: set(policies) for kind, policies in KINDS.items()}
    assert names["handwriting"] == names["natural"]


def test_handwriting_is_never_mirrored_nor_turned_far() -> None:
    for operations in KINDS["handwriting"].values():
        for operation in operations:
            assert operation["op"] != "horizontal_flip"
            assert operation.get("degrees", 0) <= 30


def test_an_operation_s_numbers_do_not_depend_on_its_neighbours(photographs: Tensor) -> None:
    jitter = {"op": "colour_jitter", "brightness": 0.8}
    noise = {"op": "gaussian_noise", "sigma": [0.0, 0.0]}
    alone = policy([{"op": "solarise", "threshold": [1.0, 1.0], "probability": 0.0}, jitter])
    beside = policy([noise, jitter, {"op": "invert", "probability": 0.0}])
    assert torch.equal(alone(photographs, Draw(0, "test")), beside(photographs, Draw(0, "test")))


def test_the_same_operation_twice_draws_twice(photographs: Tensor) -> None:
    flips = policy([{"op": "horizontal_flip"}, {"op": "horizontal_flip"}])
    images = photographs.repeat(4, 1, 1, 1)
    assert not torch.equal(flips(images, Draw(0, "test")), images)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (
            {"op": "rotat"},
            r'augment.0.op: "rotat" is not allowed; did you mean .rotation.\? \(allowed: random_resized_crop, ',
        ),
        ({"degrees": 3}, r"augment.0.op: missing \(allowed: "),
        ({"op": "affine", "degree": 3}, "augment.0.degree: unknown parameter; did you mean 'degrees'?"),
        ({"op": "affine", "scale": [1.2, 0.8]}, "augment.0.scale: .*the first number must not exceed the second"),
        ({"op": "colour_jitter", "hue": 0.7}, "augment.0.hue: 0.7 is not allowed"),
        ({"op": "randaugment", "choices": ["flip"]}, 'augment.0.choices.0: "flip" is not allowed'),
        ({"op": "randaugment", "choices": []}, r"augment.0.choices: \[\] is not allowed"),
        ({"op": "posterise", "bits": [6, 2]}, "augment.0.bits: .*the first number must not exceed the second"),
        ({"op": "random_resized_crop", "size": 8, "probability": 0.5}, "a size of its own must have the probability 1"),
        ({"op": "perspective", "distortion": 1.0}, "augment.0.distortion: 1.0 is not allowed"),
        ({"op": "greyscale", "probability": 1.5}, "augment.0.probability: 1.5 is not allowed"),
    ],
)
def test_a_mistake_is_named(operation: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        policy([operation])


def test_no_more_than_the_image_is_mirrored(digits: Tensor) -> None:
    with pytest.raises(ParameterError, match=r"pad_and_crop\.padding: 32 pixels cannot be mirrored, at most 31"):
        policy([{"op": "pad_and_crop", "padding": 32, "reflect": True}])(digits, Draw(0, "test"))
