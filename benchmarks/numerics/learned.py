"""What numpy, scipy and scikit-learn compute for probes, searches and the report."""

import numpy as np
import scipy.linalg
import scipy.special
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize
from threadpoolctl import threadpool_limits

from numerics.digests import Operation

ROWS = 400


def operations() -> dict[str, Operation]:
    """Name to operation; the inputs are the same for all."""
    generator = np.random.default_rng(0)
    wide = generator.normal(size=(200, 48))
    rows, positive = wide.astype(np.float32), np.abs(wide) + 0.1
    gram = wide.T @ wide
    return {
        "numpy.random": lambda: generator_of(1).normal(size=1000),
        "numpy.random_gamma": lambda: generator_of(2).gamma(0.7, size=1000),
        "numpy.random_choice": lambda: generator_of(3).choice(1000, 500, replace=False),
        "numpy.sum": lambda: rows.sum(),
        "numpy.sum_64": lambda: wide.sum(axis=0),
        "numpy.mean": lambda: rows.mean(axis=0),
        "numpy.std": lambda: rows.std(axis=0),
        "numpy.var_64": lambda: wide.var(axis=1),
        "numpy.sqrt": lambda: np.sqrt(np.abs(rows)),
        "numpy.sqrt_64": lambda: np.sqrt(positive),
        "numpy.log": lambda: np.log(np.abs(rows) + 1),
        "numpy.power_64": lambda: positive**0.3,
        "numpy.tanh_64": lambda: np.tanh(wide),
        "numpy.sin": lambda: np.sin(rows),
        "numpy.arctan_64": lambda: np.arctan(wide),
        "numpy.expm1_64": lambda: np.expm1(wide),
        "numpy.log1p_64": lambda: np.log1p(positive),
        "numpy.percentile": lambda: np.percentile(wide, [2.5, 50, 97.5], axis=0),
        "numpy.sort": lambda: np.sort(rows, axis=0),
        "numpy.argsort": lambda: np.argsort(rows, axis=0),
        "numpy.dot_64": lambda: wide[0] @ wide[1],
        "numpy.matrix_vector_64": lambda: wide @ wide[0],
        "numpy.einsum": lambda: np.einsum("ij,kj->ik", rows, rows),
        "numpy.norm": lambda: np.linalg.norm(rows, axis=1),
        "numpy.eigh_64": lambda: tuple(np.linalg.eigh(gram)),
        "numpy.qr_64": lambda: tuple(np.linalg.qr(wide)),
        "numpy.inverse_64": lambda: np.linalg.inv(gram),
        "numpy.cholesky_64": lambda: np.linalg.cholesky(gram),
        "numpy.lstsq_64": lambda: np.linalg.lstsq(wide[:, 1:], wide[:, 0], rcond=None)[0],
        "scipy.svd": lambda: tuple(scipy.linalg.svd(rows, full_matrices=False)),
        "scipy.eigh_64": lambda: tuple(scipy.linalg.eigh(gram)),
        "scipy.logsumexp": lambda: scipy.special.logsumexp(wide, axis=1),
        "scipy.softmax": lambda: scipy.special.softmax(wide, axis=1),
        "scipy.erf": lambda: scipy.special.erf(wide),
        "scipy.gammaln": lambda: scipy.special.gammaln(positive),
        "sklearn.scale": lambda: StandardScaler().fit_transform(_digits()),
        "sklearn.normalize": lambda: normalize(_digits()),
        "sklearn.logistic_regression": _logistic_regression,
        "sklearn.nearest_neighbours": _nearest_neighbours,
        "sklearn.k_means": _k_means,
        "sklearn.pca": lambda: PCA(20, svd_solver="full").fit_transform(_digits()),
        "sklearn.pca_of_covariance": lambda: PCA(20, svd_solver="covariance_eigh").fit_transform(_digits()),
        "sklearn.tsne": _tsne,
    }


def generator_of(seed: int) -> np.random.Generator:
    """A generator of numpy."""
    return np.random.default_rng(seed)


def _digits() -> np.ndarray:
    images: np.ndarray = load_digits().data[:ROWS] / 16
    return images.astype(np.float32)


def _logistic_regression() -> np.ndarray:
    images, labels = StandardScaler().fit_transform(_digits()), load_digits().target[:ROWS]
    coefficients: np.ndarray = LogisticRegression(C=0.1, max_iter=200).fit(images, labels).coef_
    return coefficients


def _k_means() -> np.ndarray:
    with threadpool_limits(1):  # its threads add up in any order
        centres: np.ndarray = KMeans(10, n_init=2, random_state=0).fit(_digits()).cluster_centers_
    return centres


def _tsne() -> np.ndarray:
    with threadpool_limits(1):
        places: np.ndarray = TSNE(max_iter=300, random_state=0, init="pca", n_jobs=1).fit_transform(_digits())
    return places


def _nearest_neighbours() -> np.ndarray:
    images, labels = normalize(_digits()), load_digits().target[:ROWS]
    found = KNeighborsClassifier(10, algorithm="brute").fit(images[:300], labels[:300]).kneighbors(images[300:])
    distances: np.ndarray = found[0]
    return distances
