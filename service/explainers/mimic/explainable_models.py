"""The kinds of surrogates: linear models and trees, whose Shapley values are known exactly.

Next: :mod:`service.explainers.mimic.hybrids`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, SGDRegressor
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.extmath import row_norms

from service.explainers.mimic.screening import screen_columns
from service.rows.tables import is_sparse

# Of LightGBM's, with many rows; with few, a twentieth of them.
MOST_IN_LEAF = 20
FIRST_STEP = 0.01  # of SGDRegressor's own
MOST_SEEDS = 2**31  # that LightGBM tells apart
# What an epoch of descent must gain, of the variance of what is fitted; and how many rows it takes
# to come to an end, as scikit-learn has it.
WORTH_AN_EPOCH, ENOUGH_STEPS, FEWEST_EPOCHS = 1e-5, 10**6, 1_000

EPOCH, DAY = pd.Timestamp("1970-01-01", tz="UTC"), pd.Timedelta(days=1)


@dataclass(frozen=True)
class CodedColumns:
    """The columns that hold no numbers, of which a surrogate makes some.

    Attributes
    ----------
    categories, dates : sequence of int
        Their positions.
    """

    categories: Sequence[int]
    dates: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.categories) + len(self.dates)

    def numbers_beside(self, rows: Any) -> NDArray[np.intp]:
        """Return the columns of some rows that hold numbers."""
        coded = np.asarray([*self.categories, *self.dates], dtype=np.intp)
        return np.setdiff1d(np.arange(rows.shape[1]), coded)


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
    # Those that are in the unit of the outputs: with one of them outputs are fitted as they are.
    in_units: ClassVar[frozenset[str]] = frozenset()
    # Whether it is fitted on few of very many columns.
    is_screened: ClassVar[bool] = False

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
    def fit(self, rows: Any, outputs: NDArray[np.float64], columns: CodedColumns) -> Any:
        """Fit a regression for each output.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features)
            Or a sparse matrix by rows, all of numbers.
        outputs : ndarray of shape (n_rows, n_outputs)
        columns : CodedColumns
            Those that hold no numbers.

        Returns
        -------
        object
            Has ``predict``.
        """

    def for_outputs(
        self, regressor: Any, outputs: NDArray[np.float64], is_centred: bool = True
    ) -> Any:
        """Return a regressor of as many outputs as there are, which does not know their units.

        Descent on sparse rows is slow to find what is added to all of them: it gets outputs that
        are scaled and not centred.
        """
        if self.in_units and self.in_units.isdisjoint(self.arguments):
            regressor = TransformedTargetRegressor(
                regressor, transformer=StandardScaler(with_mean=is_centred), check_inverse=False
            )
        return regressor if outputs.shape[1] == 1 else MultiOutputRegressor(regressor)


class _EncodedModel(ExplainableModel):
    """A regressor of scikit-learn's behind one-hot categories."""

    regressor: ClassVar[Callable[..., Any]]
    takes_missing: ClassVar[bool] = False
    is_scaled: ClassVar[bool] = False

    def known_arguments(self) -> set[str]:
        return set(self.regressor().get_params())

    def fit(self, rows: Any, outputs: NDArray[np.float64], columns: CodedColumns) -> Any:
        steps = self._encoders(rows, outputs, columns)
        encoded = make_pipeline(*steps, "passthrough").fit_transform(rows)
        regressor = self.regressor(**{**self.defaults_for(encoded), **self._with_seed()})
        fitted = self.for_outputs(regressor, outputs, is_centred=not is_sparse(encoded))
        return make_pipeline(*steps, fitted.fit(encoded, squeezed(outputs)))

    def defaults_for(self, encoded: Any) -> dict[str, Any]:
        """Return arguments that suit the encoded rows, where the user gives no others."""
        return {}

    def _with_seed(self) -> dict[str, Any]:
        if "random_state" not in self.known_arguments():
            return self.arguments
        return {"random_state": self.random_state, **self.arguments}

    def _encoders(
        self, rows: NDArray[Any], outputs: NDArray[np.float64], columns: CodedColumns
    ) -> list[Any]:
        """Return what makes numbers without gaps of rows, and scales them where that is wanted."""
        if is_sparse(rows):
            return [StandardScaler(with_mean=False)] * self.is_scaled
        scalers = [StandardScaler()] * self.is_scaled
        numbers = columns.numbers_beside(rows)
        if self.is_screened:
            numbers = screen_columns(rows, outputs, numbers)
        has_gaps = not self.takes_missing and bool(pd.isna(rows[:, numbers]).any())
        if len(numbers) == rows.shape[1] and not has_gaps:
            return scalers
        one_hot = OneHotEncoder(sparse_output=False)
        imputer = SimpleImputer(add_indicator=True, keep_empty_features=True)
        of_numbers: Any = imputer if has_gaps else "passthrough"
        blocks = make_category_blocks(rows, outputs, columns.categories, [one_hot])
        blocks += make_date_blocks(columns.dates, [imputer] * (not self.takes_missing))
        joined = join_blocks([*blocks, ("numbers", of_numbers, numbers)], stays_sparse=False)
        return [joined, *scalers]


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

    def defaults_for(self, encoded: Any) -> dict[str, Any]:
        """Let sparse rows be iterated on until rounding is left."""
        return {"tol": 1e-12} if is_sparse(encoded) else {}


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
    in_units = frozenset({"epsilon", "l1_ratio", "loss", "penalty", "tol"})

    def defaults_for(self, encoded: Any) -> dict[str, Any]:
        """Let no step go beyond what the row that it is taken on asks for, or very wide ones grow.

        A step changes the answer for its own row by eta0 · ‖row‖² of what is missing.
        """
        longest = float(row_norms(encoded, squared=True).max())
        first_step = min(FIRST_STEP, 1.0 / max(longest, 1.0))
        most_epochs = max(FEWEST_EPOCHS, ENOUGH_STEPS // encoded.shape[0])
        return {"eta0": first_step, "tol": WORTH_AN_EPOCH, "max_iter": most_epochs}


class DecisionTreeExplainableModel(_EncodedModel):
    """One decision tree; categories are one-hot.

    Of more than a thousand columns those are fitted that go most with the outputs, one by one, as
    many as there are rows.

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
    is_screened = True
    in_units = frozenset({"ccp_alpha", "criterion", "min_impurity_decrease"})


class LGBMExplainableModel(ExplainableModel):
    """LightGBM's boosted trees, which take categories as they are.

    Of more than a thousand columns those are fitted that go most with the outputs, one by one, as
    many as there are rows.

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
    is_screened = True
    in_units = frozenset(
        {
            *("alpha", "app", "application", "fair_c", "loss", "objective", "objective_type"),
            *("l1_regularization", "lambda_l1", "reg_alpha"),
            *("max_delta_step", "max_leaf_output", "max_tree_output"),
            *("min_gain_to_split", "min_split_gain"),
            *("cegb_penalty_feature_coupled", "cegb_penalty_feature_lazy", "cegb_penalty_split"),
            "reg_sqrt",
        }
    )

    def known_arguments(self) -> set[str]:
        """Return what LGBMRegressor names, and all else that LightGBM knows."""
        lightgbm = import_module("lightgbm")
        aliases = lightgbm.basic._ConfigAliases._get_all_param_aliases()
        return set(lightgbm.LGBMRegressor().get_params()).union(aliases, *aliases.values())

    def fit(self, rows: Any, outputs: NDArray[np.float64], columns: CodedColumns) -> Any:
        """Fit boosted trees for each output, on codes of the categories."""
        lightgbm = import_module("lightgbm")
        n_rows = rows.shape[0]
        if n_rows == 1:  # it wants two
            rows, outputs = np.repeat(rows, 2, axis=0), np.repeat(outputs, 2, axis=0)
        in_leaf = min(MOST_IN_LEAF, max(2, n_rows // 20))
        defaults = {
            "random_state": self.random_state,
            "min_child_samples": in_leaf,
            "min_data_per_group": in_leaf,
            "verbosity": -1,
            "n_jobs": 1,
        }
        regressor = lightgbm.LGBMRegressor(**{**defaults, **self.arguments})
        regressor = self.for_outputs(regressor, outputs)
        numbers = screen_columns(rows, outputs, columns.numbers_beside(rows))
        if len(numbers) == rows.shape[1]:
            return regressor.fit(rows.astype(np.float64), squeezed(outputs))
        blocks = make_category_blocks(rows, outputs, columns.categories)
        blocks += make_date_blocks(columns.dates)
        encoder = join_blocks([*blocks, ("numbers", "passthrough", numbers)], is_sparse(rows))
        encoded = encoder.fit_transform(rows).astype(np.float64)
        of_categories = list(range(len(columns.categories))) or "auto"
        regressor.fit(encoded, squeezed(outputs), categorical_feature=of_categories)
        return make_pipeline(encoder, regressor)


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
) -> list[tuple[str, Any, Sequence[int]]]:
    """Return a block for each column of categories, whose codes go through some last steps."""
    blocks: list[tuple[str, Any, Sequence[int]]] = []
    for column in categories:
        steps = [*make_codes(rows[:, [column]], outputs), *map(clone, last_steps)]
        blocks.append((f"categories of {column}", make_pipeline(*steps), [column]))
    return blocks


def count_days(column: NDArray[Any]) -> NDArray[np.float64]:
    """Turn dates into days since 1970; what is missing stays so.

    Examples
    --------
    >>> count_days(np.array([[pd.Timestamp("1970-01-02T12:00")], [np.nan]]))
    array([[1.5],
           [nan]])
    """
    moments = pd.to_datetime(column[:, 0], utc=True)
    return np.asarray((moments - EPOCH) / DAY, dtype=np.float64)[:, None]


def make_date_blocks(
    dates: Sequence[int], last_steps: Sequence[Any] = ()
) -> list[tuple[str, Any, Sequence[int]]]:
    """Return a block for each column of dates: a later one than all examples is a larger number."""
    blocks: list[tuple[str, Any, Sequence[int]]] = []
    for column in dates:
        steps = [FunctionTransformer(count_days), *map(clone, last_steps)]
        blocks.append((f"days of {column}", make_pipeline(*steps), [column]))
    return blocks


def join_blocks(blocks: Sequence[tuple[str, Any, Any]], stays_sparse: bool) -> ColumnTransformer:
    """Put transformers of different columns side by side, without those that have none."""
    taken = [block for block in blocks if len(block[2])]
    return ColumnTransformer(taken, sparse_threshold=float(stays_sparse))


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
    return kind(random_state % MOST_SEEDS, **(arguments or {}))


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
