"""Subspace alignment: align the principal subspace of the source features with the target's, and classify there.

Fernando, Habrard, Sebban, Tuytelaars. Unsupervised Visual Domain Adaptation Using Subspace Alignment. ICCV 2013. As in
Ganin et al. (JMLR 2016), the features are those of the last hidden layer of a network trained on the source alone: with
`start: source_only` and no steps this is the very network of `source_only`, and nothing is trained again.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Classifier
from repflow.encoders.linear_layer import one_row_per_class
from repflow.errors import ParameterError
from repflow.randomness.draws import Draw
from repflow.schema import Count, Positive, parameters
from repflow.training.contract import ClassifierMethod, Losses


@parameters
class Config:
    """Subspace alignment's own parameters.

    Attributes:
        augment: augmentation policy of the source images in training steps.
        dimension: of the subspaces.
        inverse_regularisation: of the logistic regression in the aligned space; scikit-learn's C.
    """

    augment: PolicyConfig = ()
    dimension: Count = 40
    inverse_regularisation: Positive = 1.0


class SubspaceAlignment(ClassifierMethod):
    """The last layer is replaced by one fitted in the aligned subspace.

    Steps, where there are any, train the network on the source first, by cross-entropy.
    """

    streams = ("source", "target")

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)
        self.config = config
        self.augment = Policy(config.augment)

    def batch_size(self, stream: str, size: int) -> int:
        """The target is used only in `finish`."""
        return size if stream == "source" else 0

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        source = batch["source"]
        logits = self.classifier(self.augment(source.images, draw))  # [B, K]
        right = (logits.argmax(dim=1) == source.labels).float().mean()
        return Losses(F.cross_entropy(logits, source.labels), {"accuracy": right})

    def finish(self, streams: Mapping[str, Stream]) -> None:
        source = self._hidden(streams["source"])  # [S, D]
        target = self._hidden(streams["target"])  # [T, D]
        allowed = min(source.shape[1], len(source), len(target))
        if self.config.dimension > allowed:
            raise ParameterError(f"settings.dimension: {self.config.dimension} exceeds the maximum of {allowed}")
        labels = streams["source"].labels.cpu().numpy()
        weight, bias = align(source, target, labels, self.config)
        last = self.classifier.head[-1]
        assert isinstance(last, nn.Linear)
        last.weight.copy_(torch.from_numpy(weight))
        last.bias.copy_(torch.from_numpy(bias))

    def _hidden(self, stream: Stream) -> np.ndarray:
        parts: list[Tensor] = [
            self.classifier.head[:-1](self.classifier.encoder(batch.images)) for batch in stream.in_order()
        ]
        return torch.cat(parts).double().cpu().numpy()


def align(source: np.ndarray, target: np.ndarray, labels: np.ndarray, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """A linear classifier for target features, fitted on aligned source features.

    Args:
        source: features [S, D].
        target: features [T, D].
        labels: of the source, [S], 0 to K - 1, every class present.
        config: the subspace and the classifier.

    Returns:
        Weight [K, D] and bias [K] from target features to logits: standardisation, projection and classification are
        affine, so together they are one linear layer.
    """
    from sklearn.linear_model import LogisticRegression

    source_mean, source_scale, source_axes = _subspace(source, config.dimension)
    target_mean, target_scale, target_axes = _subspace(target, config.dimension)
    alignment = source_axes.T @ target_axes  # [d, d]
    aligned = (source - source_mean) / source_scale @ source_axes @ alignment  # [S, d]
    fitted = LogisticRegression(C=config.inverse_regularisation, max_iter=2000).fit(aligned, labels)
    coefficients, intercept = one_row_per_class(fitted.coef_, fitted.intercept_)
    weight = coefficients @ target_axes.T / target_scale  # [K, D]
    return weight, intercept - weight @ target_mean


def _subspace(features: np.ndarray, dimension: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [D] and scale [D] of the features, and the first principal axes [D, dimension] of the standardised ones."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1.0
    standard = (features - mean) / scale
    _, vectors = np.linalg.eigh(standard.T @ standard)
    return mean, scale, vectors[:, ::-1][:, :dimension]
