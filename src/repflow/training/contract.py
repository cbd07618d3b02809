"""The interface between a method and the training loop.

A method names the data streams that it needs and computes its losses from one batch of each. One training loop serves
all methods. A method has its own module, `repflow.methods.FAMILY.NAME`, with two classes: `Config`, decorated with
`schema.parameters`, and the method. Its default settings are one YAML file in `conf/`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Classifier, Encoder
from repflow.randomness.draws import Draw, use_layer_draw


@dataclass
class Losses:
    """The result of a forward pass: the loss to minimise, and metrics to log.

    Attributes:
        total: the loss, a scalar that requires a gradient.
        metrics: name to scalar, logged in the training curves.
    """

    total: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """One optimiser update within a training step, such as the discriminator's or the generator's.

    Attributes:
        losses: computes the losses of this update, with the signature of `Method.losses`.
        modules: the modules whose parameters are updated; all others are frozen during this update.
    """

    losses: Callable[[Batches, Draw], Losses]
    modules: tuple[nn.Module, ...]


class Method(nn.Module):
    """A training method. Subclass `EncoderMethod` or `ClassifierMethod`.

    Most methods only define `losses`. An adversarial method defines `updates`; one with a memory bank allocates it in
    `begin`; one that periodically encodes the training set, or adds parameters, does so in `refresh`.
    """

    streams: ClassVar[tuple[str, ...]]
    """The data streams that it needs: any of "unlabelled", "labelled", "source" and "target"."""

    reads_target_labels: ClassVar[bool] = False
    """Whether the stream "target" provides labels; True for the oracle `train_on_target` only."""

    reads_known_labels: ClassVar[bool] = False
    """Whether the stream "unlabelled" of a fine-tuning, to which all training images belong, shows the labels of those
    that are in the stream "labelled" too. All others are -1."""

    @property
    def learned(self) -> nn.Module:
        """The module that is kept after training, and whose weights are averaged if `training.ema` is set."""
        raise NotImplementedError

    def batch_size(self, stream: str, size: int) -> int:
        """Images of `stream` per step, given the configured batch size; 0 if only `finish` uses the stream."""
        return size

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """The losses of one step.

        Args:
            batch: a batch of each of `streams`, and the progress of training.
            draw: this step's random numbers.
        """
        raise NotImplementedError

    @property
    def updates(self) -> tuple[Update, ...]:
        """The optimiser updates of one step, in this order. By default one update of all parameters by `losses`."""
        return (Update(self.losses, (self,)),)

    def forward(self, batch: Batches, draw: Draw, update: int = 0) -> Losses:
        """The losses of update number `update`; random layers draw from this step's stream "layers".

        The training loop calls the method through `forward`, so that DistributedDataParallel can wrap it.
        """
        with use_layer_draw(draw.stream("layers")):
            return self.updates[update].losses(batch, draw)

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Called once before the first step, and when a training is resumed, before its state is loaded. Allocate
        memory banks and other buffers with one row per image here."""

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Called before every step, in training mode and without gradients. Do what needs the whole training set here,
        such as reassigning clusters every so many steps.

        Parameters may be added and removed here; the optimiser is updated accordingly. A method that adds parameters
        also overrides `load_state_dict`, to create them before the state is loaded.

        Args:
            step: index of the step that follows.
            streams: all images of each stream.
            draw: random numbers of this step, independent of those of `losses`.
        """

    def after_step(self) -> None:
        """Called after every step, after all updates. Update momentum encoders and memory banks here."""

    def finish(self, streams: Mapping[str, Stream]) -> None:
        """Called once after the last step, in evaluation mode and without gradients. Fit closed-form solutions here."""


class EncoderMethod(Method):
    """A method that trains an encoder; its other modules (heads, decoders) are dropped after training.

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
    """A method that trains a classifier. Subclasses take `(config, classifier)`."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier = classifier

    @property
    def learned(self) -> Classifier:
        """The classifier."""
        return self.classifier
