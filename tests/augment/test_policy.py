"""The policies in conf/augment/, their determinism, and their documentation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from torch import Tensor

from repflow.augment.mixing import Mixing
from repflow.augment.policy import AnyOperation, Policy, PolicyConfig
from repflow.errors import ParameterError
from repflow.randomness.draws import Draw
from repflow.schema import build

CONF = Path(__file__).parents[2] / "conf" / "augment"
KINDS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONF.glob("*.yaml"))}
POLICIES = [(kind, name) for kind, policies in KINDS.items() for name in policies]


Masked = Callable[[Callable[[], Any]], Any]

DOCUMENTATION = (CONF.parents[1] / "docs" / "augmentation.md").read_text()


def operations_of(union: Any) -> tuple[Any, ...]:
    """The types that the type of a parameter allows."""
    kinds: tuple[Any, ...] = get_args(get_args(union)[0])
    return kinds


def policy(operations: Any) -> Policy:
    return Policy(build(PolicyConfig, operations, "augment"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "name"), POLICIES)
def test_every_policy_gives_valid_images(kind: str, name: str, images: Tensor) -> None:
    after = policy(KINDS[kind][name])(images.clone().requires_grad_(), Draw(0, "test"))
    assert after.shape[:2] == images.shape[:2]
    smaller = any(getattr(each, "resolution", 1) < 1 for each in policy(KINDS[kind][name]).operations)
    assert (after.shape[2:] < images.shape[2:]) == smaller
    assert smaller or after.shape == images.shape
    assert 0 <= after.min() <= after.max() <= 1
    assert name == "none" or not after.requires_grad, "no gradient flows back through an augmentation"


@pytest.mark.parametrize(("kind", "name"), POLICIES)
def test_every_policy_gives_the_same_images_in_the_masked_form(
    kind: str, name: str, images: Tensor, masked: Masked, hardly_different: Callable[[Tensor, Tensor], bool]
) -> None:
    many, views = images.repeat(4, 1, 1, 1), policy(KINDS[kind][name])
    found = masked(lambda: views(many, Draw(3, "test")))
    assert hardly_different(found, views(many, Draw(3, "test")))
    assert found is not many


@pytest.mark.parametrize("name", [name for kind, name in POLICIES if kind == "natural"])
def test_the_masked_form_of_a_policy_is_one_graph(
    name: str, photographs: Tensor, masked: Masked, whole_graph: list[Any]
) -> None:
    views = policy(KINDS["natural"][name])
    plain = masked(lambda: views(photographs, Draw(3, "test")))
    views.compile()
    for _ in range(2):
        assert torch.equal(masked(lambda: views(photographs, Draw(3, "test"))), plain)
    assert len(whole_graph) == 1


def test_compiling_changes_nothing_on_the_cpu(photographs: Tensor, whole_graph: list[Any]) -> None:
    views = policy(KINDS["natural"]["simclr"])
    plain = views(photographs, Draw(0, "test"))
    views.compile()
    assert torch.equal(views(photographs, Draw(0, "test")), plain)
    assert not whole_graph


def test_every_kind_of_images_has_the_same_policies() -> None:
    names = {kind: set(policies) for kind, policies in KINDS.items()}
    assert names["handwriting"] == names["natural"] == names["general"]


def test_handwriting_is_never_flipped_nor_rotated_far() -> None:
    for operations in KINDS["handwriting"].values():
        for operation in operations:
            assert operation["op"] != "horizontal_flip"
            assert operation.get("degrees", 0) <= 30


def test_parameters_of_an_operation_do_not_depend_on_other_operations(photographs: Tensor) -> None:
    jitter = {"op": "colour_jitter", "brightness": 0.8}
    noise = {"op": "gaussian_noise", "sigma": [0.0, 0.0]}
    alone = policy([{"op": "solarise", "threshold": [1.0, 1.0], "probability": 0.0}, jitter])
    combined = policy([noise, jitter, {"op": "invert", "probability": 0.0}])
    assert torch.equal(alone(photographs, Draw(0, "test")), combined(photographs, Draw(0, "test")))


def test_a_crop_may_change_the_size(photographs: Tensor) -> None:
    small = policy(
        [
            {"op": "random_resized_crop", "scale": [0.05, 0.3], "size": 17},
            {"op": "gaussian_noise"},
            {"op": "cutout"},
        ]
    )
    after = small(photographs, Draw(0, "test"))
    assert after.shape == (8, 3, 17, 17)
    assert 0 <= after.min() <= after.max() <= 1


def test_chunks_of_a_batch_give_the_same_images(photographs: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    images = photographs.repeat(3, 1, 1, 1)
    for operations in KINDS["natural"].values():
        whole = policy(operations)(images, Draw(0, "test"))
        with monkeypatch.context() as patch:
            patch.setattr("repflow.augment.policy.CHUNK_BYTES", 5 * photographs[0].nbytes // torch.get_num_threads())
            assert torch.allclose(policy(operations)(images, Draw(0, "test")), whole, atol=1e-6)


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
def test_errors_name_the_parameter(operation: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        policy([operation])


def test_reflection_padding_is_limited_by_the_image(digits: Tensor) -> None:
    with pytest.raises(ParameterError, match=r"pad_and_crop\.padding: 32 pixels cannot be mirrored, at most 31"):
        policy([{"op": "pad_and_crop", "padding": 32, "reflect": True}])(digits, Draw(0, "test"))


@pytest.mark.parametrize("kind", [*operations_of(AnyOperation), *operations_of(Mixing)], ids=lambda kind: kind.__name__)
def test_the_documentation_names_every_operation_and_parameter(kind: Any) -> None:
    fields = kind.__dataclass_fields__
    name = fields["op"].default
    row = next((line for line in DOCUMENTATION.splitlines() if f"`{name}`" in line or f"op: {name}," in line), "")
    assert row, f"docs/augmentation.md does not name {name}"
    assert [field for field in fields if field not in row and field not in ("op", "probability")] == []


def test_the_documentation_names_every_policy() -> None:
    missing = {name for policies in KINDS.values() for name in policies if f"`{name}`" not in DOCUMENTATION}
    assert not missing


@pytest.mark.parametrize(("images", "threads"), [(4, 1), (400, 2)])
def test_a_batch_gets_no_more_threads_than_chunks(images: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """400 images of 3 x 64 x 64 take 20 MB, more than the chunks of two threads."""
    seen: list[int] = []
    policy = Policy(build(PolicyConfig, [{"op": "invert"}], "policy"))
    apply = type(policy.operations[0]).apply

    def noting(operation: Any, *given: Any) -> Tensor:
        seen.append(torch.get_num_threads())
        return apply(operation, *given)

    monkeypatch.setattr(type(policy.operations[0]), "apply", noting)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        policy(torch.rand(images, 3, 64, 64), Draw(0, "views"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {threads}
