"""What is read from a frozen encoder: its last layer, and the layers that the validation images choose."""

from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from repflow.data.read.rows import TRAINING, Domain, Rows, Side
from repflow.encoders import Encoder
from repflow.evaluation.features import encode
from repflow.evaluation.knn import KNNConfig, fit_knn
from repflow.evaluation.layer_choice import LayerChoiceConfig, Reading, Score, encoder_of, rank_layers
from repflow.evaluation.linear_probe import fit_linear_probe
from repflow.evaluation.probes import ProbeConfig
from repflow.randomness.seeds import numpy_generator

LABELS = 10
"""Labels per class for the linear probe with few labels."""
NEIGHBOURS = (10, 20, 200)
"""Numbers of neighbours that kNN is read with; the first is the one of the tables."""


class Readings:
    """Accuracies in [0, 1] of the probes of one encoder, and which images each of them gets right.

    Args:
        config: how the probes are fitted.
        encoder: frozen.
        domain: its training rows are fitted on, its validation rows choose the layers.
        seed: draws the images of the linear probe with few labels.
        side: whose rows are read.

    Attributes:
        accuracies: of the last layer `knn`, `linear` and `linear_few`, and `neighbours` by their number, of features as
            they are and standardised; below `chosen` the same of the chosen layers, which are there too.
        right: name to bool [N], of `knn`, `linear`, `chosen_knn` and `chosen_linear`.
    """

    def __init__(self, config: ProbeConfig, encoder: Encoder, domain: Domain, seed: int, side: Side = Side.TEST):
        self._config, self._size = config, domain.store.images.shape[2]
        self._training, self._rows = domain.labelled_rows(*TRAINING), domain.labelled_rows(side)
        self._few = few_of_each(self._training, seed)
        self.accuracies: dict[str, Any] = {}
        self.right: dict[str, np.ndarray] = {}
        features = self._encoded(encoder)
        self.accuracies |= self._linear(features) | self._neighbours(features)
        self._read_chosen(encoder, domain.labelled_rows(Side.VALIDATION))

    def _read_chosen(self, encoder: Encoder, validation: Rows) -> None:
        """Read the layer that is best for a linear probe, and the one whose neighbours are best."""
        ranked = rank_layers(LayerChoiceConfig(), encoder, self._training, validation)
        if not ranked:
            return
        linear = self._linear(self._encoded(encoder_of(ranked[0], encoder, self._size)), "chosen_")
        # At one position, as distances between maps depend on where things are.
        nearest = {
            name: rank_layers(LayerChoiceConfig(grids=(1,)), encoder, self._training, validation, score)[0]
            for name, score in _SCORES.items()
        }
        scaling = max(nearest, key=lambda name: nearest[name].accuracy)
        features = self._encoded(encoder_of(nearest[scaling], encoder, self._size))
        self.accuracies["chosen"] = {
            **linear,
            **self._neighbours(features, "chosen_", scaling),
            "linear_of": _place(ranked[0]),
            "knn_of": {**_place(nearest[scaling]), "scaling": scaling},
        }

    def _encoded(self, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
        return encode(encoder, self._training.images), encode(encoder, self._rows.images)

    def _linear(self, features: tuple[np.ndarray, np.ndarray], prefix: str = "") -> dict[str, float]:
        training, read = features
        nothing = np.empty((0, training.shape[1]), np.float32), np.empty(0, np.int64)
        found = {}
        for name, some in (("linear", slice(None)), ("linear_few", self._few)):
            probe = fit_linear_probe(self._config.linear, training[some], self._training.labels[some], *nothing)
            right = probe.predict(read) == self._rows.labels
            found[name] = float(right.mean())
            if name == "linear":
                self.right[f"{prefix}linear"] = right
        return found

    def _neighbours(
        self, features: tuple[np.ndarray, np.ndarray], prefix: str = "", scaling: str = "raw"
    ) -> dict[str, Any]:
        found: dict[str, dict[int, float]] = {}
        for name, scaled in _SCALINGS.items():
            training, read = scaled(*features)
            knn = fit_knn(self._config.knn, training, self._training.labels)
            right = {count: each == self._rows.labels for count, each in knn.predict_each(read, NEIGHBOURS).items()}
            found[name] = {count: float(each.mean()) for count, each in right.items()}
            if name == scaling:
                self.right[f"{prefix}knn"] = right[NEIGHBOURS[0]]
        return {"knn": found[scaling][NEIGHBOURS[0]], "neighbours": found}


def few_of_each(rows: Rows, seed: int) -> np.ndarray:
    """Positions of `LABELS` rows of each class: int64 [n]."""
    order = numpy_generator(seed, "zoo/few").permutation(len(rows))
    places = [order[rows.labels[order] == label][:LABELS] for label in np.unique(rows.labels)]
    return np.sort(np.concatenate(places))


def _place(reading: Reading) -> dict[str, Any]:
    return {"layer": reading.layer + 1, "grid": reading.grid, "validation": reading.accuracy}


def _as_they_are(training: np.ndarray, read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return training, read


def _standardised(training: np.ndarray, read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scaler = StandardScaler().fit(training)
    return scaler.transform(training), scaler.transform(read)


_SCALINGS = {"raw": _as_they_are, "standardised": _standardised}


def _score(scaling: str) -> Score:
    """The accuracy of kNN on features that are scaled so."""

    def accuracy(training: np.ndarray, labels: np.ndarray, validation: np.ndarray, wanted: np.ndarray) -> float:
        training, validation = _SCALINGS[scaling](training, validation)
        return float(np.mean(fit_knn(KNNConfig(), training, labels).predict(validation) == wanted))

    return accuracy


_SCORES = {name: _score(name) for name in _SCALINGS}
