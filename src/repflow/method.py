"""The one contract that every way of learning keeps.

A method is a small module that names the streams of batches it needs and computes its losses from one batch of each.
One trainer serves them all. A method lives in a module of its own, `repflow.FAMILY.NAME`, that holds two classes: its
`Config`, made by `schema.parameters`, and the method. Its defaults stand in one YAML file in `conf/`.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from repflow.data.batches import Batches, Stream
from repflow.draw import Draw, layers_draw_from
from repflow.encoders import Classifier, Encoder
from repflow.errors import ParameterError


@dataclass
class Losses:
    """What a step gives: the loss to descend, and numbers worth a curve.

    Attributes:
        total: the loss, a scalar with a gradient.
        metrics: name to scalar, for the curves.
    """

    total: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


class Method(nn.Module):
    """A way of learning. Subclass `EncoderMethod` or `ClassifierMethod`."""

    streams: ClassVar[tuple[str, ...]]
    """The streams it needs: of "unlabelled", "labelled", "source" and "target"."""

    reads_target_labels: ClassVar[bool] = False
    """Whether the stream "target" shows its labels; true of the oracle alone."""

    @property
    def learned(self) -> nn.Module:
        """What is kept after training, and averaged where an average of the weights is asked for."""
        raise NotImplementedError

    def batch_size(self, stream: str, size: int) -> int:
        """Images of `stream` in a step, where the training's batch size is `size`; 0 if only `finish` wants it."""
        return size

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """The losses of one step.

        Args:
            batch: a batch of each of `streams`, and the progress of training.
            draw: this step's random numbers.
        """
        raise NotImplementedError

    def forward(self, batch: Batches, draw: Draw) -> Losses:
        """`losses`, with layers that draw taking their numbers from a stream of this step's.

        Trainers call this one, so that wrappers for several devices can stand around the method.
        """
        with layers_draw_from(draw.stream("layers")):
            return self.losses(batch, draw)

    def after_step(self) -> None:
        """Called after every step of the optimiser: the place for momentum encoders and memory banks."""

    def finish(self, streams: Mapping[str, Stream]) -> None:
        """Called once after the last step, in evaluation mode and without gradients: the place for closed forms."""


class EncoderMethod(Method):
    """A method that learns an encoder; what else it has (heads, decoders) is dropped after training.

    Subclasses take `(config, encoder)`.
    """

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder

    @property
    def learned(self) -> Encoder:
        """The encoder."""
        return self.encoder


class ClassifierMethod(Method):
    """A method that learns a classifier. Subclasses take `(config, classifier)`."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier = classifier

    @property
    def learned(self) -> Classifier:
        """The classifier."""
        return self.classifier


def find_method(family: str, name: str) -> tuple[type[Any], type[Any]]:
    """The method class of `repflow.FAMILY.NAME`, and the class of its parameters.

    Raises:
        ParameterError: there is no such module, or it holds no method.
    """
    module_name = f"repflow.{family}.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ParameterError(f"{family}.{name}: there is no method of this name (no module {module_name})") from error
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Method) and value.__module__ == module_name
    ]
    if len(found) != 1 or not hasattr(module, "Config"):
        raise ParameterError(f"{module_name}: must hold a class `Config` and exactly one method, has {len(found)}")
    return found[0], module.Config


def introduction(method: type[Any]) -> dict[str, str]:
    """What a method's module says of it in its opening lines: "Name: what it does.", and below the paper.

    Returns:
        `name`; `about`, what it does; `paper`, the reference up to the year, "" where the module names none.
    """
    module = sys.modules[method.__module__]
    first, _, rest = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    name, colon, about = " ".join(first.split()).partition(": ")
    if not colon:
        name, about = method.__name__, name
    paper = re.match(r".*?\b(19|20)\d\d\b", " ".join(rest.split()))
    return {"name": name, "about": about, "paper": f"{paper[0]}." if paper else ""}
