"""What is known about the inside of fitted models: one explicit table, by class name.

A structure says how a model's output comes about, in terms of the columns that its last step sees. It holds plain
arrays, so that scoring needs neither the model's own ``predict`` nor shap.

``LinearStructure``   linear regressors and classifiers; support vector machines and kernel ridge with a linear kernel.
                      Links: none, logistic, softmax, calibrated
``ProductStructure``  SVC, NuSVC, SVR, NuSVR, OneClassSVM, KernelRidge and GaussianProcessRegressor with an RBF kernel,
                      KernelRidge with a Laplacian one. Links: none, one-versus-rest, calibrated
``NetworkStructure``  MLPClassifier, MLPRegressor, with their own layers
``TreeStructure``     decision trees, forests, extra trees, gradient and histogram boosting, LightGBM, XGBoost
                      (:mod:`service.scoring.tree_readers`). Links: none, logistic, softmax, exponential

Next: :mod:`service.scoring.choice`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from service.scoring import links
from service.scoring.model_kinds import model_kind
from service.scoring.tree_readers import TreeStructure, read_trees

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LinearStructure:
    """Margins that are linear in the columns, behind an optional link.

    Attributes
    ----------
    coefficients : ndarray of shape (n_margins, n_columns)
    intercepts : ndarray of shape (n_margins,)
    link : callable or None
    """

    coefficients: Floats
    intercepts: Floats
    link: links.Link | None = None

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to each margin, shape (n_rows, n_columns, n_margins)."""
        return rows[:, :, None] * self.coefficients.T

    def readout(self, margins: Floats) -> Floats:
        """Add the intercepts and apply the link."""
        margins = margins + self.intercepts
        return margins if self.link is None else self.link(margins)


@dataclass(frozen=True)
class ProductStructure:
    """A kernel machine with a product kernel, behind an optional link.

    Attributes
    ----------
    support : ndarray of shape (n_support, n_columns)
    rate : ndarray of shape (n_columns,) or (1,)
        γ of exp(−γ d²), or of exp(−γ |d|).
    power : {1, 2}
        2 for RBF kernels, 1 for Laplacian ones.
    dual : ndarray of shape (n_margins, n_support)
    intercepts : ndarray of shape (n_margins,)
    link : callable or None
    """

    support: Floats
    rate: Floats
    power: int
    dual: Floats
    intercepts: Floats
    link: links.Link | None = None

    def log_factors(self, rows: Floats) -> Floats:
        """Return the logarithm of each column's factor of the kernel, shape (n_rows, n_columns, n_support)."""
        distance = rows[:, :, None] - self.support.T
        raised = np.square(distance, out=distance) if self.power == 2 else np.abs(distance, out=distance)
        return np.multiply(raised, -self.rate[:, None], out=raised)


@dataclass(frozen=True)
class NetworkStructure:
    """A multilayer perceptron.

    Attributes
    ----------
    weights, biases : sequence of ndarrays
        Of each layer, the first one included.
    activation, output_activation : str
        As scikit-learn names them.
    """

    weights: Sequence[Floats]
    biases: Sequence[Floats]
    activation: str
    output_activation: str

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to each unit of the first layer, shape (n_rows, n_columns, n_hidden)."""
        return rows[:, :, None] * self.weights[0]

    def readout(self, hidden: Floats) -> Floats:
        """Evaluate the rest of the network; overwrites its argument."""
        activate = _ACTIVATIONS[self.activation]
        hidden += self.biases[0]
        for weights, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            hidden = activate(hidden) @ weights
            hidden += bias
        return _OUTPUT_ACTIVATIONS[self.output_activation](hidden)


Structure = LinearStructure | ProductStructure | NetworkStructure | TreeStructure

_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0, out=x),
    "tanh": lambda x: np.tanh(x, out=x),
    "logistic": lambda x: expit(x, out=x),
}
_OUTPUT_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "identity": lambda x: x,
    "logistic": lambda x: np.hstack([1 - expit(x), expit(x)]) if x.shape[1] == 1 else expit(x),
    "exp": np.exp,
    "softmax": lambda x: softmax(x, axis=1),
}


def structure_of(estimator: Any, scale: str) -> Structure | None:
    """Look a fitted estimator up in the table.

    Parameters
    ----------
    estimator : object
        The last step of a model.
    scale : {"probability", "margin", "prediction"}
        The output that is explained.

    Returns
    -------
    Structure or None
        None when the table has nothing for it.

    Raises
    ------
    UnsupportedStructureError
        When the estimator is in the table but its inside cannot be read.
    """
    kind = model_kind(estimator)
    reader = _READERS.get(kind or "")
    return None if reader is None else reader(estimator, scale)


def _linear(estimator: Any, scale: str) -> Structure | None:
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    intercepts = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), len(coefficients)).copy()
    margins = LinearStructure(coefficients, intercepts)
    if scale != "probability":
        return margins
    if not type(estimator).__name__.startswith(("LogisticRegression", "LinearDiscriminantAnalysis")):
        return None
    return replace(margins, link=links.logistic if len(coefficients) == 1 else links.multinomial)


def _support_vectors(estimator: Any, scale: str) -> Structure | None:
    """Read SVC, NuSVC, SVR, NuSVR and OneClassSVM; libsvm's own probabilities are not in the table."""
    is_outlier_detector = type(estimator).__name__ == "OneClassSVM"
    if scale == "probability" or (scale == "prediction" and is_outlier_detector):
        return None
    is_multiclass = len(getattr(estimator, "classes_", ())) > 2
    machine = _machine(
        estimator.kernel,
        estimator._gamma,
        np.asarray(estimator.support_vectors_, dtype=np.float64),
        _one_versus_one(estimator) if is_multiclass else np.asarray(estimator.dual_coef_, dtype=np.float64),
        np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64)),
    )
    if machine is None or not is_multiclass or estimator.decision_function_shape == "ovo":
        return machine
    return replace(machine, link=links.OneVersusRest(len(estimator.classes_)))


def _one_versus_one(estimator: Any) -> Floats:
    """Spread libsvm's compact dual coefficients over the pairs of classes; (n_pairs, n_support)."""
    ends = np.cumsum(estimator.n_support_)
    of_class = [slice(end - size, end) for end, size in zip(ends, estimator.n_support_, strict=True)]
    pairs = list(combinations(range(len(ends)), 2))
    dual = np.zeros((len(pairs), ends[-1]))
    for pair, (first, second) in enumerate(pairs):
        dual[pair, of_class[first]] = estimator.dual_coef_[second - 1, of_class[first]]
        dual[pair, of_class[second]] = estimator.dual_coef_[first, of_class[second]]
    return dual


def _kernel_ridge(estimator: Any, scale: str) -> Structure | None:
    support = np.asarray(estimator.X_fit_, dtype=np.float64)
    gamma = estimator.gamma if estimator.gamma is not None else 1.0 / support.shape[1]
    dual = np.atleast_2d(np.asarray(estimator.dual_coef_, dtype=np.float64).T)
    return _machine(estimator.kernel, gamma, support, dual, np.zeros(len(dual)))


def _gaussian_process(estimator: Any, scale: str) -> Structure | None:
    """Read the posterior mean for a kernel that is a constant times an RBF, plus white noise."""
    amplitude, length_scale = _scaled_rbf(getattr(estimator, "kernel_", None))
    if length_scale is None:
        return None
    alpha = np.asarray(estimator.alpha_, dtype=np.float64).reshape(len(estimator.X_train_), -1)
    dual = (amplitude * alpha * estimator._y_train_std).T
    intercepts = np.broadcast_to(np.asarray(estimator._y_train_mean, dtype=np.float64), len(dual)).copy()
    rate = np.atleast_1d(0.5 / np.square(length_scale))
    return ProductStructure(np.asarray(estimator.X_train_, dtype=np.float64), rate, 2, dual, intercepts)


def _scaled_rbf(kernel: Any) -> tuple[float, Any]:
    """Return amplitude and length scale of an RBF kernel, or None for the second when the kernel is another one."""
    name = type(kernel).__name__
    if name == "RBF":
        return 1.0, kernel.length_scale
    if name == "Sum" and type(kernel.k2).__name__ == "WhiteKernel":
        return _scaled_rbf(kernel.k1)
    if name == "Product" and type(kernel.k1).__name__ == "ConstantKernel":
        amplitude, length_scale = _scaled_rbf(kernel.k2)
        return amplitude * kernel.k1.constant_value, length_scale
    return 1.0, None


def _machine(
    kernel: Any, gamma: float, support: Floats, dual: Floats, intercepts: Floats
) -> LinearStructure | ProductStructure | None:
    if kernel == "linear":
        return LinearStructure(dual @ support, intercepts)
    if kernel in ("rbf", "laplacian"):
        return ProductStructure(support, np.array([gamma]), 2 if kernel == "rbf" else 1, dual, intercepts)
    return None


def _network(estimator: Any, scale: str) -> Structure | None:
    if estimator.activation not in _ACTIVATIONS or estimator.out_activation_ not in _OUTPUT_ACTIVATIONS:
        return None
    weights = [np.asarray(layer, dtype=np.float64) for layer in estimator.coefs_]
    biases = [np.asarray(layer, dtype=np.float64) for layer in estimator.intercepts_]
    return NetworkStructure(weights, biases, estimator.activation, estimator.out_activation_)


def _calibrated(estimator: Any, scale: str) -> Structure | None:
    """Put the calibration behind the margins of the calibrated classifiers, when those are linear or product ones."""
    fitted = estimator.calibrated_classifiers_
    if scale != "probability" or any(one.method not in ("sigmoid", "isotonic") for one in fitted):
        return None
    inner = [structure_of(one.estimator, "margin") for one in fitted]
    link = links.Calibrated(tuple(tuple(one.calibrators) for one in fitted))
    linear = [one for one in inner if isinstance(one, LinearStructure) and one.link is None]
    if len(inner) > 1 and len(linear) == len(inner):
        return LinearStructure(
            np.concatenate([one.coefficients for one in linear]),
            np.concatenate([one.intercepts for one in linear]),
            link,
        )
    single = inner[0]
    if len(inner) > 1 or not isinstance(single, LinearStructure | ProductStructure):
        return None
    return replace(single, link=link if single.link is None else links.Chained(single.link, link))


_READERS: dict[str, Callable[[Any, str], Structure | None]] = {
    "linear": _linear,
    "support vectors": _support_vectors,
    "kernel ridge": _kernel_ridge,
    "gaussian process": _gaussian_process,
    "network": _network,
    "calibrated": _calibrated,
    "forest": read_trees,
    "boosting": read_trees,
}
