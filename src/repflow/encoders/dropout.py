"""Dropout with masks that are a function of seed, step and sample.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov. Dropout: A Simple Way to Prevent Neural Networks from
Overfitting. JMLR 2014.
"""

from torch import Tensor, nn

from repflow.randomness.draws import layer_draw


class Dropout(nn.Module):
    """`torch.nn.Dropout`, but with the same masks in resumed and in data-parallel training.

    Args:
        probability: of dropping a unit, in [0, 1).
    """

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, ...] to the same shape.

        Raises:
            LookupError: in training mode, outside `use_layer_draw`, which `Method.forward` enters.
        """
        if not self.training:
            return features
        keep = layer_draw().uniform(*features.shape) >= self.probability
        return features * keep / (1 - self.probability)
