"""Reading a fitted model: every family that is known, and the structure of what one ends in.

| structure               | models                                                                 |
|-------------------------|------------------------------------------------------------------------|
| ``LinearStructure``     | linear regressors and classifiers; kernel machines with a linear       |
|                         | kernel                                                                 |
| ``LogLinearStructure``  | Poisson, gamma and Tweedie regressors; linear ones of a logarithm      |
| ``PolynomialSum-        | linear models without a link behind PolynomialFeatures, which may be   |
| Structure``             | scaled in between                                                      |
| ``ProductStructure``    | SVC, NuSVC, SVR, NuSVR, OneClassSVM, KernelRidge and                   |
|                         | GaussianProcessRegressor with an RBF kernel; KernelRidge with a        |
|                         | Laplacian one                                                          |
| ``PolynomialStructure`` | the same support vector machines and KernelRidge with a polynomial     |
|                         | kernel                                                                 |
| ``NetworkStructure``    | MLPClassifier, MLPRegressor; the same machines with a sigmoid kernel;  |
|                         | networks of torch and Keras                                            |
| ``ParabolaStructure``,  | GaussianNB; BernoulliNB                                                |
| ``ThresholdStructure``  |                                                                        |
| ``ProcessStructure``    | GaussianProcessClassifier with a kernel of one distance                |
| ``RadialStructure``     | GaussianProcessRegressor with Matern and rational quadratic kernels    |
| ``NeighboursStructure`` | KNeighborsClassifier, KNeighborsRegressor                              |
| ``TreeStructure``       | decision trees, forests, extra trees, gradient and histogram boosting, |
|                         | LightGBM, XGBoost                                                      |

Wrappers around them have the structure that comes out (:mod:`service.structures.wrappers`). A model
kind is added in the module of its family; a new family is added to ``FAMILIES`` too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.errors import UnsupportedStructureError
from service.structures import (
    kernel_machines,
    lightgbm_trees,
    linear,
    networks,
    sklearn_trees,
    wrappers,
    xgboost_trees,
)
from service.structures.behind import pipeline
from service.structures.encoders import Encoder, last_step, split_model, steps_of
from service.structures.family import Family
from service.structures.foreign_networks import read_networks
from service.structures.searches import look_through
from service.structures.statistical import (
    discriminants,
    gaussian_processes,
    naive_bayes,
    neighbours,
)
from service.structures.structure import Structure


def read_model(model: Any, scale: str, names: Sequence[str]) -> tuple[Encoder, Structure] | None:
    """Read a fitted model: its preprocessing, and the structure of what comes after it.

    Parameters
    ----------
    model : object
        Pipelines and searches are looked through.
    scale : {"probability", "margin", "prediction"}
        The output that is explained.
    names : sequence of str
        The raw columns in the order of the rows.

    Returns
    -------
    (Encoder, Structure) or None
        From raw columns to those of the structure, and the structure. None when a step mixes
        columns or is not known, or when no family has the model or that output of it.

    Raises
    ------
    UnsupportedStructureError
        When a model is known but its inside cannot be read.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> model = make_pipeline(StandardScaler(), Ridge()).fit([[0, 1], [1, 0], [2, 2]], [1, 2, 3])
    >>> encoder, structure = read_model(model, "prediction", ["width", "height"])
    >>> encoder.steps
    (StandardScaler(),)
    >>> type(structure).__name__, structure.coefficients.shape
    ('LinearStructure', (1, 2))
    """
    split = split_model(model, len(names), names)
    if split is None:
        return None
    encoder, estimator = split
    family = family_of(estimator)
    if family is None:
        return None
    opened = family.open_estimator(estimator, _names_after(encoder, names))
    if opened is not None:
        preprocessing, estimator = opened
        encoder = encoder.followed_by(preprocessing)
    structure = family.read(estimator, scale)
    if structure is None:
        return None
    return encoder, structure


def _names_after(encoder: Encoder, names: Sequence[str]) -> Sequence[str]:
    """Name the columns that come out of an encoder; those of a step have no names but positions."""
    if not encoder.steps:
        return names
    return list(map(str, range(len(encoder.owner))))


def read_structure(estimator: Any, scale: str) -> Structure | None:
    """Read a fitted estimator without preprocessing.

    Parameters
    ----------
    estimator : object
        The last step of a model; searches and thresholds around it are looked through.
    scale : {"probability", "margin", "prediction"}
        The output that is explained.

    Returns
    -------
    Structure or None
        None when no family has the estimator, or that output of it.

    Raises
    ------
    UnsupportedStructureError
        When the estimator is known but its inside cannot be read.

    Examples
    --------
    >>> from sklearn.svm import SVR
    >>> machine = SVR(kernel="rbf").fit([[0, 1], [1, 0], [2, 2]], [1, 2, 3])
    >>> structure = read_structure(machine, "prediction")
    >>> type(structure).__name__, structure.power, structure.support.shape
    ('ProductStructure', 2, (3, 2))
    """
    estimator = look_through(estimator)
    family = family_of(estimator)
    if family is None:
        return None
    if family.open_estimator(estimator, ()) is not None:
        raise UnsupportedStructureError(
            f"{type(estimator).__name__} with categorical columns is not read inside of another "
            "model."
        )
    return family.read(estimator, scale)


def family_of(estimator: Any) -> Family | None:
    """Return the family of an estimator, None where none is known."""
    for family in FAMILIES:
        if family.has(estimator):
            return family
    return None


def prefers_margin(model: Any) -> bool:
    """Tell whether a classifier's margin is the output that has a closed form.

    Parameters
    ----------
    model : object
        Pipelines and searches are looked through, as in the other functions here.
    """
    family = family_of(last_step(model))
    return family is not None and family.prefers_margin


def margin_option(model: Any) -> str | None:
    """Return the option of ``predict`` that asks for the margin.

    Returns
    -------
    str or None
        None for models that have a ``decision_function``, or no margin.
    """
    family = family_of(last_step(model))
    if family is None:
        return None
    return family.margin_option


def predict_margin(model: Any, rows: Any, option: str) -> Any:
    """Ask for a margin that no method gives, but an option of the last step's ``predict``.

    Searches, thresholds and pipelines around it do not hand such an option on.

    Parameters
    ----------
    model : object
        Ends in a model with the option.
    rows : DataFrame or array of shape (n_rows, n_features)
    option : str
        As :func:`margin_option` returns it.

    Returns
    -------
    ndarray of shape (n_rows,) or (n_rows, n_classes)
    """
    *preprocessing, estimator = steps_of(model)
    for step in preprocessing:
        rows = step.transform(rows)
    return estimator.predict(rows, **{option: True})


FAMILIES = (
    linear.FAMILY,
    pipeline.family(read_structure),
    kernel_machines.FAMILY,
    networks.FAMILY,
    read_networks.FAMILY,
    naive_bayes.FAMILY,
    neighbours.FAMILY,
    gaussian_processes.FAMILY,
    discriminants.FAMILY,
    sklearn_trees.FORESTS,
    sklearn_trees.GRADIENT_BOOSTING,
    sklearn_trees.HISTOGRAM_BOOSTING,
    lightgbm_trees.FAMILY,
    xgboost_trees.FAMILY,
    xgboost_trees.BOOSTERS,
    wrappers.family(read_structure),
)
