"""The kinds of surrogates: linear models and trees, whose Shapley values are known exactly.

Next: :mod:`service.explainers.mimic.hybrids`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, SGDRegressor
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

# Of LightGBM's, with many rows; with few, a twentieth of them.
MOST_IN_LEAF = 20


class ExplainableModel(ABC):
    """A kind of surrogate, with the arguments of its regressor.

    Parameters
    ----------
    random_state : int, default 0
        By position only: the regressor's arguments have their own names.
    **arguments
        Of the regressor inside.

    Raises
    ------
    ValueError
        When the regressor has no such argument.
    """

    takes_sparse: ClassVar[bool] = True
    library: ClassVar[str] = "sklearn"

    def __init__(self, random_state: int = 0, /, **arguments: Any) -> None:
        self.arguments = arguments
        self.random_state = random_state
        known = self.known_arguments()
        unknown = sorted(set(self.arguments) - known)
        if unknown:
            raise ValueError(
                f"explainable_model_args: expected arguments of {type(self).__name__}, "
                f"{', '.join(sorted(known)[:40])}, got {', '.join(unknown)}."
            )

    @abstractmethod
    def known_arguments(self) -> set[str]:
        """Return the names of the arguments that the regressor takes."""

    @abstractmethod
    def fit(
        self, rows: NDArray[Any], outputs: NDArray[np.float64], categories: Sequence[int]
    ) -> Any:
        """Fit a regression for each output.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features)
        outputs : ndarray of shape (n_rows, n_outputs)
        categories : sequence of int
            The columns that hold categories.

        Returns
        -------
        object
            Has ``predict``.
        """


class _EncodedModel(ExplainableModel):
    """A regressor of scikit-learn's behind one-hot categories."""

    regressor: ClassVar[Callable[..., Any]]
    takes_missing: ClassVar[bool] = False
    is_scaled: ClassVar[bool] = False

    def known_arguments(self) -> set[str]:
        return set(self.regressor().get_params())

    def fit(
        self, rows: NDArray[Any], outputs: NDArray[np.float64], categories: Sequence[int]
    ) -> Any:
        regressor = self.regressor(**self._with_seed())
        steps = [*self._encoders(rows, outputs, categories), *[StandardScaler()] * self.is_scaled]
        return make_pipeline(*steps, for_outputs(regressor, outputs)).fit(rows, squeezed(outputs))

    def _with_seed(self) -> dict[str, Any]:
        if "random_state" not in self.known_arguments():
            return self.arguments
        return {"random_state": self.random_state, **self.arguments}

    def _encoders(
        self, rows: NDArray[Any], outputs: NDArray[np.float64], categories: Sequence[int]
    ) -> list[Any]:
        """Return what makes numbers without gaps of rows; nothing where they are."""
        numbers = numbers_beside(rows, categories)
        has_gaps = not self.takes_missing and bool(pd.isna(rows[:, numbers]).any())
        if not categories and not has_gaps:
            return []
        one_hot = OneHotEncoder(sparse_output=False)
        imputer = SimpleImputer(add_indicator=True, keep_empty_features=True)
        of_numbers: Any = imputer if has_gaps else "passthrough"
        blocks = make_category_blocks(rows, outputs, categories, [one_hot])
        return [join_blocks([*blocks, ("numbers", of_numbers, numbers)])]


class LinearExplainableModel(_EncodedModel):
    """A linear regression; categories are one-hot, what is missing is imputed.

    It is given to :class:`service.explainers.MimicExplainer`, whose ``explainable_model_args`` are
    those of scikit-learn's LinearRegression.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import MimicExplainer, LinearExplainableModel
    >>> rows, species = load_iris(return_X_y=True)
    >>> model = LinearRegression().fit(rows, species)
    >>> explainer = MimicExplainer(model, rows, LinearExplainableModel)
    >>> explainer.method, explainer.fidelity["rows"]
    ('mimic/linear', 150)
    """

    regressor = partial(LinearRegression)


class SGDExplainableModel(_EncodedModel):
    """A linear regression by stochastic gradient descent, of scaled columns.

    It is given to :class:`service.explainers.MimicExplainer`, whose ``explainable_model_args`` are
    those of scikit-learn's SGDRegressor.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import MimicExplainer, SGDExplainableModel
    >>> rows, species = load_iris(return_X_y=True)
    >>> model = LinearRegression().fit(rows, species)
    >>> explainer = MimicExplainer(model, rows, SGDExplainableModel)
    >>> explainer.method, explainer.fidelity["rows"]
    ('mimic/linear', 150)
    """

    regressor = partial(SGDRegressor)
    is_scaled = True


class DecisionTreeExplainableModel(_EncodedModel):
    """One decision tree; categories are one-hot.

    It is given to :class:`service.explainers.MimicExplainer`, whose ``explainable_model_args`` are
    those of scikit-learn's DecisionTreeRegressor.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import MimicExplainer, DecisionTreeExplainableModel
    >>> rows, species = load_iris(return_X_y=True)
    >>> model = LinearRegression().fit(rows, species)
    >>> explainer = MimicExplainer(model, rows, DecisionTreeExplainableModel)
    >>> explainer.method, explainer.fidelity["rows"]
    ('mimic/tree', 150)
    """

    regressor = partial(DecisionTreeRegressor)
    takes_missing = True
    takes_sparse = False


class LGBMExplainableModel(ExplainableModel):
    """LightGBM's boosted trees, which take categories as they are.

    It is given to :class:`service.explainers.MimicExplainer`, whose ``explainable_model_args`` are
    those of LightGBM's LGBMRegressor.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import MimicExplainer, LGBMExplainableModel
    >>> rows, species = load_iris(return_X_y=True)
    >>> model = LinearRegression().fit(rows, species)
    >>> explainer = MimicExplainer(model, rows, LGBMExplainableModel)
    >>> explainer.method, explainer.fidelity["rows"]
    ('mimic/tree', 150)
    """

    library = "lightgbm"

    def known_arguments(self) -> set[str]:
        """Return what LGBMRegressor names, and all else that LightGBM knows."""
        lightgbm = import_module("lightgbm")
        aliases = lightgbm.basic._ConfigAliases._get_all_param_aliases()
        return set(lightgbm.LGBMRegressor().get_params()).union(aliases, *aliases.values())

    def fit(
        self, rows: NDArray[Any], outputs: NDArray[np.float64], categories: Sequence[int]
    ) -> Any:
        """Fit boosted trees for each output, on codes of the categories."""
        lightgbm = import_module("lightgbm")
        if len(rows) == 1:  # it wants two
            rows, outputs = np.repeat(rows, 2, axis=0), np.repeat(outputs, 2, axis=0)
        in_leaf = min(MOST_IN_LEAF, max(2, len(rows) // 20))
        defaults = {
            "random_state": self.random_state,
            "min_child_samples": in_leaf,
            "min_data_per_group": in_leaf,
            "verbosity": -1,
            "n_jobs": 1,
        }
        regressor = for_outputs(lightgbm.LGBMRegressor(**{**defaults, **self.arguments}), outputs)
        if not categories:
            return regressor.fit(rows.astype(np.float64), squeezed(outputs))
        numbers = numbers_beside(rows, categories)
        blocks = make_category_blocks(rows, outputs, categories)
        encoder = join_blocks([*blocks, ("numbers", "passthrough", numbers)])
        encoded = np.asarray(encoder.fit_transform(rows), dtype=np.float64)
        of_categories = list(range(len(categories)))
        regressor.fit(encoded, squeezed(outputs), categorical_feature=of_categories)
        return make_pipeline(encoder, regressor)


def numbers_beside(rows: NDArray[Any], categories: Sequence[int]) -> list[int]:
    """Return the columns that hold numbers."""
    return np.setdiff1d(np.arange(rows.shape[1]), np.asarray(categories, dtype=np.intp)).tolist()


def make_codes(column: NDArray[Any], outputs: NDArray[np.float64]) -> list[Any]:
    """Return steps that make codes of levels; of one that is not there, that of the most ordinary.

    A tree has never split by such a level and would send it to whatever side is left over: here it
    is explained as the level whose rows have the outputs nearest to the average. What is missing is
    a level like others, where it is there.

    Parameters
    ----------
    column : ndarray of shape (n_rows, 1)
    outputs : ndarray of shape (n_rows, n_outputs)

    Returns
    -------
    list of transformers
        To be fitted.
    """
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=len(pd.unique(column[:, 0])),
    )
    codes = encoder.fit_transform(column)[:, 0]
    means = pd.DataFrame(outputs).groupby(codes).mean()
    ordinary = ((means - outputs.mean(axis=0)) ** 2).sum(axis=1).idxmin()
    return [encoder, SimpleImputer(strategy="constant", fill_value=float(ordinary))]


def make_category_blocks(
    rows: NDArray[Any],
    outputs: NDArray[np.float64],
    categories: Sequence[int],
    last_steps: Sequence[Any] = (),
) -> list[tuple[str, Any, list[int]]]:
    """Return a block for each column of categories, whose codes go through some last steps."""
    blocks: list[tuple[str, Any, list[int]]] = []
    for column in categories:
        steps = [*make_codes(rows[:, [column]], outputs), *map(clone, last_steps)]
        blocks.append((f"categories of {column}", make_pipeline(*steps), [column]))
    return blocks


def join_blocks(blocks: Sequence[tuple[str, Any, list[int]]]) -> ColumnTransformer:
    """Put transformers of different columns side by side, without those that have none."""
    return ColumnTransformer(list(filter(itemgetter(2), blocks)), sparse_threshold=0)


def for_outputs(regressor: Any, outputs: NDArray[np.float64]) -> Any:
    """Return a regressor of as many outputs as there are."""
    return regressor if outputs.shape[1] == 1 else MultiOutputRegressor(regressor)


def squeezed(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a single output without an axis of outputs."""
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs


KINDS = (
    LGBMExplainableModel,
    LinearExplainableModel,
    SGDExplainableModel,
    DecisionTreeExplainableModel,
)


def make_explainable(
    kind: Any, arguments: Mapping[str, Any] | None, random_state: int
) -> ExplainableModel:
    """Return a surrogate that can be fitted.

    Parameters
    ----------
    kind : type
        One of the four classes.
    arguments : mapping or None
        They are copied.
    random_state : int

    Raises
    ------
    ImportError
        When its library is not installed.
    TypeError
        When it is none of them.
    ValueError
        When an argument is unknown.
    """
    if not (isinstance(kind, type) and issubclass(kind, KINDS)):
        names = ", ".join(known.__name__ for known in KINDS)
        raise TypeError(
            f"explainable_model: expected one of the classes {names}, got {_tell(kind)}."
        )
    if not isinstance(arguments, Mapping | None):
        raise TypeError(
            "explainable_model_args: expected a mapping of the regressor's arguments, got "
            f"{arguments!r}."
        )
    _check_installed(kind)
    return kind(random_state, **(arguments or {}))


def _tell(kind: Any) -> str:
    """Say what came in place of a class, and what to do where it is an instance of one."""
    if not isinstance(kind, KINDS):
        return repr(kind)
    return (
        f"an instance of {type(kind).__name__}; pass the class itself, and its arguments as "
        "explainable_model_args"
    )


def _check_installed(kind: type[ExplainableModel]) -> None:
    """Refuse a kind whose library is not here."""
    try:
        import_module(kind.library)
    except ImportError:
        raise ImportError(
            f"{kind.__name__}: expected {kind.library}, which is not installed; install it with "
            f"'pip install {kind.library}', or take LinearExplainableModel, SGDExplainableModel or "
            "DecisionTreeExplainableModel."
        ) from None
