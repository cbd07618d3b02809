"""Memory layout and torch.compile, which make training faster."""

from collections.abc import Iterator

import torch

from repflow.augment.policy import Policy
from repflow.training.contract import Method


def compile_method(method: Method, compile: str) -> None:
    """Convert the weights to channels-last, which convolutions are fastest with, and compile the encoder, in place.

    Augmentation policies are compiled, too, where they run on a GPU. They have no CUDA graphs, whose results the next
    call overwrites: most methods take two views of one policy.

    Args:
        method: what is trained.
        compile: "off", or the mode of torch.compile for the encoder.
    """
    method.to(memory_format=torch.channels_last)
    if compile == "off":
        return
    encoder = getattr(method.learned, "encoder", method.learned)
    encoder.compile(mode=compile)
    for policy in policies_of(method):
        policy.compile()


def policies_of(method: Method) -> Iterator[Policy]:
    """The policies that a method or a part of it has as an attribute, alone or in a tuple."""
    for module in method.modules():
        for value in vars(module).values():
            yield from (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, Policy))
