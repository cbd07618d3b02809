"""Methods that train an encoder owned by another method."""

from collections.abc import Callable
from typing import Any

from repflow.encoders import Encoder
from repflow.training.contract import EncoderMethod


def with_shared_encoder(kind: Callable[[Any, Encoder], EncoderMethod], config: Any, encoder: Encoder) -> EncoderMethod:
    """A method that uses `encoder` without registering it: its parameters and state dict contain its heads only.

    Args:
        kind: the method's class.
        config: its parameters.
        encoder: remains a submodule of the caller.
    """
    task = kind(config, encoder)
    del task.encoder  # unregister it, or its weights would be in both state dicts
    task.__dict__["encoder"] = encoder
    return task
