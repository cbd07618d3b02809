"""The contract between a method and the trainer.

A method is a small module that names the streams of batches it needs and computes its losses from one batch of each.
One trainer serves them all. A method lives in a module of its own, `repflow.methods.FAMILY.NAME`, that holds two
classes: its `Config`, made by `schema.parameters`, and the method. Its defaults stand in one YAML file in `conf/`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Classifier, Encoder
from repflow.randomness.draws import Draw, layers_draw_from


@dataclass
class Losses:
    """What a step gives: the loss to descend, and numbers worth a curve.

    Attributes:
        total: the loss, a scalar with a gradient.
        metrics: name to scalar, for the curves.
    """

    total: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """What one player of a game does in a step.

    Attributes:
        losses: computes the player's losses, as `Method.losses` does.
        learns: the modules that descend them; all others stay as they are.
    """

    losses: Callable[[Batches, Draw], Losses]
    learns: tuple[nn.Module, ...]


class Method(nn.Module):
    """A way of learning. Subclass `EncoderMethod` or `ClassifierMethod`.

    Most methods need `losses` alone. One that plays a game says whose `turns` there are; one that remembers every image
    makes room for it in `begin`; one that looks at all images now and then, or grows, does so in `refresh`.
    """

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

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What happens in one step, in this order; each turn ends with a step of the optimiser for those who learn."""
        return (Turn(self.losses, (self,)),)

    def forward(self, batch: Batches, draw: Draw, turn: int = 0) -> Losses:
        """The losses of a turn, with layers that draw taking their numbers from a stream of this step's.

        Trainers call this one, so that wrappers for several devices can stand around the method.
        """
        with layers_draw_from(draw.stream("layers")):
            return self.turns[turn].losses(batch, draw)

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Called once before the first step, and again where a stopped training goes on, before its state is read: the
        place for what has a row for every image."""

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Called before every step, in training mode and without gradients: the place for what takes a look at all
        images now and then.

        Parameters may come and go here; the optimiser follows. A method that grows also overrides `load_state_dict`,
        to grow before it reads.

        Args:
            step: that is about to be done.
            streams: all images of each stream.
            draw: random numbers of this step that no loss uses.
        """

    def after_step(self) -> None:
        """Called after every step, when all turns are over: the place for momentum encoders and memory banks."""

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
