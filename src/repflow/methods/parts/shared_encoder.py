"""Methods that learn on an encoder that belongs to another method."""

from collections.abc import Callable
from typing import Any

from repflow.encoders import Encoder
from repflow.training.contract import EncoderMethod


def on_shared(kind: Callable[[Any, Encoder], EncoderMethod], config: Any, encoder: Encoder) -> EncoderMethod:
    """A method that uses `encoder` without owning it: among its parameters and in its state are its heads alone.

    Args:
        kind: of the method.
        config: its parameters.
        encoder: stays a part of whoever asks.
    """
    task = kind(config, encoder)
    del task.encoder  # as a submodule, or its weights would be in the state of both
    task.__dict__["encoder"] = encoder
    return task
