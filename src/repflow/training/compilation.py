"""Memory layout and torch.compile, which make training faster."""

import torch

from repflow.training.contract import Method


def compile_method(method: Method, compile: str) -> None:
    """Convert the weights to channels-last, which convolutions are fastest with, and compile the encoder, in place.

    Args:
        method: what is trained.
        compile: "off", or the mode of torch.compile for the encoder.
    """
    method.to(memory_format=torch.channels_last)
    if compile != "off":
        encoder = getattr(method.learned, "encoder", method.learned)
        encoder.compile(mode=compile)
