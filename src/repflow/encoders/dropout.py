"""Dropout whose masks are a function of the seed, the step and the sample.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov. Dropout: A Simple Way to Prevent Neural Networks from
Overfitting. JMLR 2014.
"""

from torch import Tensor, nn

from repflow.randomness.draws import layer_draw


class Dropout(nn.Module):
    """`torch.nn.Dropout`, except that a training that is resumed or shared between processes loses the same units.

    Args:
        probability: of losing a unit, in [0, 1).
    """

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, ...] to the same shape.

        Raises:
            LookupError: in training, outside `draw.use_layer_draw`, which `Method.forward` opens.
        """
        if not self.training:
            return features
        keep = layer_draw().uniform(*features.shape) >= self.probability
        return features * keep / (1 - self.probability)
