"""A classifier: an encoder and a head."""

from torch import Tensor, nn

from repflow.encoders.dropout import Dropout
from repflow.encoders.encoder import Encoder
from repflow.encoders.neighbours import NeighboursConfig, NeighbourVote
from repflow.schema import Count, Fraction, parameters


@parameters
class HeadConfig:
    """A linear layer, or a network with hidden layers of the given widths, ReLU and dropout before the last layer."""

    hidden: tuple[Count, ...] = ()
    dropout: Fraction = 0.0


AnyHeadConfig = HeadConfig | NeighboursConfig
"""The parameters of any head; a head that is trained has a `HeadConfig`."""


def build_head(config: AnyHeadConfig, width: int, classes: int) -> nn.Sequential:
    """Features [B, width] to logits [B, classes].

    The last module is always the output layer: `nn.Linear`, or `NeighbourVote` if the head is not trained.
    """
    if isinstance(config, NeighboursConfig):
        return nn.Sequential(NeighbourVote(config, width, classes))
    layers: list[nn.Module] = []
    for hidden in config.hidden:
        layers += [nn.Linear(width, hidden), nn.ReLU(inplace=True)]
        width = hidden
    if config.dropout:
        layers.append(Dropout(config.dropout))
    return nn.Sequential(*layers, nn.Linear(width, classes))


class Classifier(nn.Module):
    """Images to logits.

    Args:
        encoder: images to features.
        head: made by `build_head`.
        temperature: the logits are divided by it; above 1 the classifier is less sure. It changes no prediction (Guo et
            al. On Calibration of Modern Neural Networks. ICML 2017).
    """

    def __init__(self, encoder: Encoder, head: nn.Sequential, temperature: float = 1.0):
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.temperature = temperature

    @property
    def classes(self) -> int:
        """Number of classes."""
        last = self.head[-1]
        assert isinstance(last, nn.Linear | NeighbourVote)
        return last.out_features

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, channels, size, size] in [0, 1]."""
        logits: Tensor = self.head(self.encoder(images))
        return logits if self.temperature == 1 else logits / self.temperature
