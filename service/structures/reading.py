"""What is known about the inside of fitted models: one explicit table, by class name.

A structure says how a model's output comes about, in terms of the columns that its last step sees.
It holds plain arrays, so that scoring needs neither the model's own ``predict`` nor shap.

``LinearStructure``     linear regressors and classifiers; support vector machines and kernel ridge with a linear kernel
``ProductStructure``    SVC, NuSVC, SVR, NuSVR, OneClassSVM, KernelRidge and GaussianProcessRegressor with an RBF
                        kernel, KernelRidge with a Laplacian one
``PolynomialStructure`` the same support vector machines and KernelRidge with a polynomial kernel
``NetworkStructure``    MLPClassifier, MLPRegressor, with their own layers; support vector machines and KernelRidge with
                        a sigmoid kernel, whose support vectors are the hidden units of a network
``TreeStructure``       decision trees, forests, extra trees, gradient and histogram boosting, LightGBM, XGBoost
                        (:mod:`service.structures.trees`)

Links of linear models and kernel machines: logistic, softmax, one-versus-rest, libsvm's own
probabilities, calibrated; of trees: logistic, softmax, exponential. Of several of one kind: their
mean (VotingRegressor, BaggingRegressor), one per class (OneVsRestClassifier), calibrated in folds.
TransformedTargetRegressor with an affine transformer scales any of them but trees.

Next: :mod:`service.engines.choice`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from service.structures import links
from service.structures.margins import (
    ACTIVATIONS,
    OUTPUT_ACTIVATIONS,
    Floats,
    LinearStructure,
    Margins,
    NetworkStructure,
    PolynomialStructure,
    ProductStructure,
    side_by_side,
)
from service.structures.model_kinds import model_kind, unwrapped
from service.structures.trees import TreeStructure, read_trees

Structure = Margins | NetworkStructure | TreeStructure


def structure_of(estimator: Any, scale: str) -> Structure | None:
    """Look a fitted estimator up in the table.

    Parameters
    ----------
    estimator : object
        The last step of a model; searches and thresholds around it are looked through.
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
    estimator = unwrapped(estimator)
    reader = _READERS.get(model_kind(estimator) or "")
    return None if reader is None else reader(estimator, scale)


def _linear(estimator: Any, scale: str) -> Structure | None:
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    intercepts = np.broadcast_to(
        np.asarray(estimator.intercept_, dtype=np.float64), len(coefficients)
    ).copy()
    margins = LinearStructure(coefficients, intercepts)
    if scale != "probability":
        return margins
    if not type(estimator).__name__.startswith(
        ("LogisticRegression", "LinearDiscriminantAnalysis")
    ):
        return None
    return replace(margins, link=links.logistic if len(coefficients) == 1 else links.multinomial)


def _support_vectors(estimator: Any, scale: str) -> Structure | None:
    """Read SVC, NuSVC, SVR, NuSVR and OneClassSVM."""
    is_outlier_detector = type(estimator).__name__ == "OneClassSVM"
    if estimator._sparse or (scale == "prediction" and is_outlier_detector):
        return None
    n_classes = len(getattr(estimator, "classes_", ()))
    machine = _machine(
        estimator,
        estimator._gamma,
        np.asarray(estimator.support_vectors_, dtype=np.float64),
        _one_versus_one(estimator)
        if n_classes > 2
        else np.asarray(estimator.dual_coef_, dtype=np.float64),
        np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64)),
    )
    if machine is None:
        return None
    if scale == "probability":
        return replace(machine, link=_platt(estimator))
    is_ovr = n_classes > 2 and estimator.decision_function_shape == "ovr"
    return replace(machine, link=links.OneVersusRest(n_classes)) if is_ovr else machine


def _platt(estimator: Any) -> links.PairwisePlatt:
    """Read libsvm's sigmoids; scikit-learn turns the sign of the margin of two classes around, and
    leaves theirs.
    """
    n_classes = len(estimator.classes_)
    sign = -1.0 if n_classes == 2 else 1.0
    return links.PairwisePlatt(sign * estimator._probA, np.array(estimator._probB), n_classes)


def _one_versus_one(estimator: Any) -> Floats:
    """Spread libsvm's compact dual coefficients over the pairs of classes; (n_pairs, n_support)."""
    ends = np.cumsum(estimator.n_support_)
    of_class = [
        slice(end - size, end) for end, size in zip(ends, estimator.n_support_, strict=True)
    ]
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
    return _machine(estimator, gamma, support, dual, np.zeros(len(dual)))


def _gaussian_process(estimator: Any, scale: str) -> Structure | None:
    """Read the posterior mean for a kernel that is a constant times an RBF, plus white noise."""
    amplitude, length_scale = _scaled_rbf(getattr(estimator, "kernel_", None))
    if length_scale is None:
        return None
    alpha = np.asarray(estimator.alpha_, dtype=np.float64).reshape(len(estimator.X_train_), -1)
    dual = (amplitude * alpha * estimator._y_train_std).T
    intercepts = np.broadcast_to(
        np.asarray(estimator._y_train_mean, dtype=np.float64), len(dual)
    ).copy()
    rate = np.atleast_1d(0.5 / np.square(length_scale))[:, None]
    return ProductStructure(
        np.asarray(estimator.X_train_, dtype=np.float64), rate, 2, dual, intercepts
    )


def _scaled_rbf(kernel: Any) -> tuple[float, Any]:
    """Return amplitude and length scale of an RBF kernel, or None for the second when the kernel is
    another one.
    """
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
    estimator: Any, gamma: float, support: Floats, dual: Floats, intercepts: Floats
) -> Margins | NetworkStructure | None:
    """Read a machine by its kernel; None for kernels that are not in the table."""
    kernel = estimator.kernel if isinstance(estimator.kernel, str) else ""
    if kernel == "linear" or (
        kernel and not dual.size
    ):  # no support vector, as of targets within epsilon: a constant
        return LinearStructure(dual @ support, intercepts)
    if kernel in ("rbf", "laplacian"):
        return ProductStructure(
            support, np.array([[gamma]]), 2 if kernel == "rbf" else 1, dual, intercepts
        )
    if (
        kernel in ("poly", "polynomial")
        and estimator.degree >= 1
        and float(estimator.degree).is_integer()
    ):
        return PolynomialStructure(
            gamma * support, float(estimator.coef0), int(estimator.degree), dual, intercepts
        )
    if kernel == "sigmoid":
        hidden = np.full(len(support), float(estimator.coef0))
        return NetworkStructure(
            [gamma * support.T, dual.T], [hidden, intercepts], "tanh", "identity"
        )
    return None


def _network(estimator: Any, scale: str) -> Structure | None:
    if (
        estimator.activation not in ACTIVATIONS
        or estimator.out_activation_ not in OUTPUT_ACTIVATIONS
    ):
        return None
    weights = [np.asarray(layer, dtype=np.float64) for layer in estimator.coefs_]
    biases = [np.asarray(layer, dtype=np.float64) for layer in estimator.intercepts_]
    return NetworkStructure(weights, biases, estimator.activation, estimator.out_activation_)


def _calibrated(estimator: Any, scale: str) -> Structure | None:
    """Put the calibration behind the margins of the calibrated classifiers, of one or one for each
    fold.
    """
    fitted = estimator.calibrated_classifiers_
    if scale != "probability" or not all(_is_calibrated_margin(one) for one in fitted):
        return None
    parts = [structure_of(one.estimator, "margin") for one in fitted]
    margins = side_by_side(parts)
    if margins is None:
        return None
    each = [
        links.chained(
            getattr(part, "link", None), links.Calibrated(tuple(map(_calibrator, one.calibrators)))
        )
        for part, one in zip(parts, fitted, strict=True)
    ]
    return replace(margins, link=each[0] if len(each) == 1 else links.Averaged(tuple(each)))


def _calibrator(fitted: Any) -> Any:
    """Read a sigmoid; an isotonic calibration is taken as it is."""
    return links.Sigmoid(fitted.a_, fitted.b_) if hasattr(fitted, "a_") else fitted


def _is_calibrated_margin(calibrated: Any) -> bool:
    """Tell whether each class (or the second of two) has a calibrator of its decision function."""
    has_margin = hasattr(calibrated.estimator, "decision_function")
    has_all = has_margin and len(calibrated.estimator.classes_) == len(calibrated.classes)
    return has_all and calibrated.method in ("sigmoid", "isotonic")


def _one_versus_rest(estimator: Any, scale: str) -> Structure | None:
    """Put the binary models of OneVsRestClassifier side by side; there is a single one for two
    classes.
    """
    if estimator.multilabel_:
        return None
    parts = [structure_of(one, scale) for one in estimator.estimators_]
    if len(parts) == 1:
        return parts[0]
    margins = side_by_side(parts)
    if margins is None or scale == "margin":
        return margins
    linked = [part for part in parts if isinstance(part, Margins) and part.link is not None]
    if len(linked) < len(parts) or len({len(part.intercepts) for part in linked}) > 1:
        return None
    return replace(
        margins,
        link=links.OnePerClass(tuple(part.link for part in linked if part.link is not None)),
    )


def _voting(estimator: Any, scale: str) -> Structure | None:
    weights = estimator._weights_not_none
    parts = [structure_of(one, scale) for one in estimator.estimators_]
    return _mean(parts, np.ones(len(parts)) if weights is None else np.array(weights))


def _bagging(estimator: Any, scale: str) -> Structure | None:
    """Read BaggingRegressor, whose models may see some of the columns each, but none of them
    twice.
    """
    chosen = estimator.estimators_features_
    if any(len(np.unique(columns)) < len(columns) for columns in chosen):
        return None
    parts = [structure_of(one, scale) for one in estimator.estimators_]
    spread = [
        part.spread(columns, estimator.n_features_in_) if isinstance(part, Margins) else None
        for part, columns in zip(parts, chosen, strict=True)
    ]
    return _mean(spread, np.ones(len(spread)))


def _mean(parts: Sequence[Structure | None], weights: Floats) -> Structure | None:
    """Average predictions; None unless all are linear, or all kernel machines of one kind."""
    margins = side_by_side(parts)
    if margins is None or isinstance(margins, NetworkStructure):
        return None
    n_targets = len(margins.intercepts) // len(parts)
    return margins.mapped(np.kron(weights / weights.sum(), np.eye(n_targets)))


def _transformed_target(estimator: Any, scale: str) -> Structure | None:
    """Scale the predictions back, where the target's transformer is affine."""
    part = structure_of(estimator.regressor_, scale)
    transformer = unwrapped(estimator.transformer_)
    is_identity = (
        type(transformer).__name__ == "FunctionTransformer" and transformer.inverse_func is None
    )
    if not isinstance(part, Margins) or not (is_identity or type(transformer).__name__ in _AFFINE):
        return None
    ends = np.repeat([[0.0], [1.0]], len(part.intercepts), axis=1)
    shift, at_one = transformer.inverse_transform(ends)
    return part.mapped(np.diag(at_one - shift), shift)


_READERS: dict[str, Callable[[Any, str], Structure | None]] = {
    "linear": _linear,
    "support vectors": _support_vectors,
    "kernel ridge": _kernel_ridge,
    "gaussian process": _gaussian_process,
    "network": _network,
    "calibrated": _calibrated,
    "one versus rest": _one_versus_rest,
    "voting": _voting,
    "bagging": _bagging,
    "transformed target": _transformed_target,
    "forest": read_trees,
    "boosting": read_trees,
}
_AFFINE = (
    "MaxAbsScaler",
    "MinMaxScaler",
    "RobustScaler",
    "StandardScaler",
)  # their inverses are affine
