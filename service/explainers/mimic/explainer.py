"""MimicExplainer: explain a surrogate of a model, and say how well it follows the model.

Next: :mod:`service.explainers.pfi`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from service.engines.options import EngineOptions, check_choice, is_whole
from service.engines.outputs import ModelOutput
from service.engines.row_explainer import RowExplainer, StandIn, find_columns
from service.engines.sparse.examples import SparseExamples, with_short_indices, without_columns
from service.errors import expect
from service.explainers.mimic.explainable_models import (
    CodedColumns,
    ExplainableModel,
    LGBMExplainableModel,
    make_explainable,
)
from service.explainers.mimic.fidelity import Followed, warn_of_infidelity, warn_of_screening
from service.explainers.mimic.hybrids import answers_to
from service.explainers.mimic.probabilities import check_probabilities, probability_output
from service.explainers.mimic.surrogate_fit import Apprenticeship
from service.explainers.tabular import TabularExplainer, as_function
from service.explainers.transformations import compose
from service.explanations import GlobalExplanation
from service.explanations.context import ExplanationContext
from service.rows.tables import is_sparse, row_as_table

VALUES = ("default", "probability", "teacher_probability")


class MimicExplainer(TabularExplainer):
    """Explain a model by the exact Shapley values of a surrogate that is fitted to its output.

    The surrogate is a regression of the very output that
    :class:`service.explainers.TabularExplainer` would explain of the model, so both answer in the
    same unit; what it is not is the model. :attr:`fidelity` says how far it follows.

    Parameters
    ----------
    model : object
        A fitted estimator, or a function of rows; as in TabularExplainer.
    initialization_examples : DataFrame or array of shape (n_examples, n_features)
        Rows on which the surrogate is fitted, and which stand for "feature unknown".
    explainable_model : type
        LGBMExplainableModel (needs LightGBM), LinearExplainableModel, SGDExplainableModel or
        DecisionTreeExplainableModel.
    explainable_model_args : mapping, optional
        Arguments of the regressor inside. They are copied.
    is_function : bool, default False
        Whether `model` is to be called with rows, whatever methods it has.
    augment_data : bool, default True
        Whether hybrids of examples are fitted too, blocks of as many as there are examples: 0, 1,
        2, 4, 8, … and the most there may be are tried, and those are kept with which the surrogate
        follows the model best. Shapley values evaluate hybrids, so a surrogate that was fitted on
        real rows alone may follow the model well and have other importances.
    max_num_of_augmentations : int, default 10
        How many blocks there are at most.
    explain_subset, features, classes, transformations, allow_all_transformations : optional
        As in TabularExplainer. With transformations the surrogate is fitted on raw columns.
    shap_values_output : {"default", "probability", "teacher_probability"}, default "default"
        "probability" explains a surrogate of the probability; "teacher_probability" does the same,
        and explanations have ``residuals``: expected value + Σ importances + residual is the
        model's own probability. A plain function is taken that answers a probability for each
        class.
    categorical_features : sequence of str or int, optional
        Names or positions of columns that hold categories, beside those whose dtype says so; dates
        are days since 1970 unless they are named. A level that no example has is explained as the
        most ordinary one of its column, that whose rows are answered nearest to the average.
    model_task : {"unknown", "classification", "regression"}, default "unknown"
        "unknown" asks the model.
    output : {"auto", "probability", "margin", "prediction"}, default "auto"
        As in TabularExplainer; "auto" or "probability" where `shap_values_output` asks for
        probabilities.
    random_state : int, default 0
        Seed of the surrogate and of the hybrids.

    Raises
    ------
    ImportError
        When the surrogate's library is not installed.
    TypeError, ValueError
        When the model is no model, the surrogate is none of the four, or an argument is unknown.

    Warns
    -----
    UserWarning
        When the surrogate explains less than 0.9 of the model's variance on hybrid rows.

    Notes
    -----
    The method is "mimic/tree" or "mimic/linear": interventional Shapley values of the surrogate on
    the initialization examples. Global importances are means of absolute local ones, never split
    counts or coefficients.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from service.explainers import DecisionTreeExplainableModel, MimicExplainer
    >>> rows, species = load_iris(return_X_y=True, as_frame=True)
    >>> model = SVC().fit(rows, species)
    >>> explainer = MimicExplainer(model, rows, DecisionTreeExplainableModel)
    >>> explainer.method, explainer.output, sorted(explainer.fidelity)[2:]
    ('mimic/tree', 'margin', ['r2', 'r2_hybrids', 'rows'])
    >>> explainer.explain_global().get_ranked_global_names(top_k=2)
    ['petal length (cm)', 'petal width (cm)']
    """

    def __init__(
        self,
        model: Any,
        initialization_examples: Any,
        explainable_model: type[ExplainableModel],
        *,
        explainable_model_args: Mapping[str, Any] | None = None,
        is_function: bool = False,
        augment_data: bool = True,
        max_num_of_augmentations: int = 10,
        explain_subset: Sequence[str | int] | None = None,
        features: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        transformations: Any = None,
        allow_all_transformations: bool = False,
        shap_values_output: str = "default",
        categorical_features: Sequence[str | int] | None = None,
        model_task: str = "unknown",
        output: str = "auto",
        random_state: int = 0,
    ) -> None:
        shap_values_output = check_choice("shap_values_output", shap_values_output, VALUES)
        options = EngineOptions(random_state=random_state)
        explainable = make_explainable(
            explainable_model, explainable_model_args, options.random_state
        )
        if is_sparse(initialization_examples) and not explainable.takes_sparse:
            raise TypeError(
                f"{explainable_model.__name__}: expected dense rows, got sparse ones; take "
                "LGBMExplainableModel, LinearExplainableModel or SGDExplainableModel, or "
                "toarray()."
            )
        self.model = as_function(model) if is_function else model
        if transformations is not None:
            self.model = compose(transformations, self.model, initialization_examples, features)
        self.initialization_examples = initialization_examples
        self.shap_values_output = shap_values_output
        most = _checked_flag(augment_data) * _checked_most(max_num_of_augmentations)
        self.row_explainer = RowExplainer.build(
            self.model,
            initialization_examples,
            features=features,
            classes=classes,
            subset=explain_subset,
            output=probability_output(self.model, shap_values_output, output, model_task),
            task=model_task,
            options=options,
            imitate=partial(
                _imitate,
                explainable=explainable,
                categorical=categorical_features,
                most=most,
                random_state=options.random_state,
                values=shap_values_output,
            ),
        )
        warn_of_infidelity(self._description, most)
        warn_of_screening(self._description)

    @property
    def _stand_in(self) -> StandIn:
        stand_in = self.row_explainer.stand_in
        assert stand_in is not None
        return stand_in

    @property
    def _description(self) -> dict[str, Any]:
        return self._stand_in.description

    @property
    def fidelity(self) -> dict[str, Any]:
        """How well the surrogate follows the model, on rows that were not fitted.

        In the unit that is explained: ``r2`` on examples that were left out in turn, ``r2_hybrids``
        on fresh hybrids of examples, on which importances are computed, of several targets that of
        the one that is followed worst; ``agreement``, the share of
        left-out examples with the same likeliest class (None for regressors);
        ``mean_absolute_error`` on them, and ``rows``, their number.
        """
        return dict(self._description["fidelity"])

    @property
    def num_of_augmentations(self) -> int:
        """How many blocks of hybrid rows the surrogate was fitted on beside the examples."""
        return int(self._description["augmentations"])

    @property
    def surrogate_model(self) -> Any:
        """The fitted surrogate, which predicts the explained output of rows as the schema reads."""
        return self._stand_in.output.model

    def get_surrogate_model_replication_measure(self, training_data: Any) -> float:
        """Compare surrogate and model on some rows.

        Parameters
        ----------
        training_data : DataFrame or array of shape (n_rows, n_features)

        Returns
        -------
        float
            The share of rows with the same likeliest class, or R² for a regression: of several
            targets that of the one that is followed worst.
        """
        followed = self._follow(training_data)
        return followed.agreement if followed.task == "classification" else followed.r2

    def explain_global(self, evaluation_examples: Any = None, **options: Any) -> GlobalExplanation:
        """Explain the surrogate as a whole, by the mean absolute local importance of some rows.

        Parameters
        ----------
        evaluation_examples : DataFrame, array, list of records or list of lists, optional
            By default the initialization examples.
        **options
            As in :meth:`service.explainers.TabularExplainer.explain_global`.

        Returns
        -------
        GlobalExplanation
        """
        if evaluation_examples is None:
            evaluation_examples = self.initialization_examples
        return super().explain_global(evaluation_examples, **options)

    @property
    def engineered_explainer(self) -> NoReturn:
        """Nothing: the surrogate is fitted on raw columns."""
        raise ValueError(
            "engineered: expected of TabularExplainer, got MimicExplainer, whose surrogate is "
            "fitted on raw columns; leave engineered=True out."
        )

    def _describe(self, rows: Any) -> ExplanationContext:
        context = replace(super()._describe(rows), fidelity=self.fidelity)
        if rows is None or self.shap_values_output != "teacher_probability":
            return context
        return replace(context, residuals=self._residuals(rows))

    def _residuals(self, rows: Any) -> NDArray[np.float64]:
        """Return what is missing to the model's probabilities, (n_classes, n_rows)."""
        followed = self._follow(rows)
        return (followed.teacher - followed.surrogate).T

    def _follow(self, rows: Any) -> Followed:
        """Ask the model and its surrogate for rows."""
        function, schema = self.row_explainer.function, self.row_explainer.schema
        asked = row_as_table(rows)
        asked = asked.tocsr() if is_sparse(asked) else schema.matrix(asked)
        return Followed(
            answers_to(function, asked), answers_to(self._stand_in.output, asked), function.task
        )


def _checked_flag(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"augment_data: expected True or False, got {value!r}.")
    return bool(value)


def _checked_most(value: Any) -> int:
    if not is_whole(value, at_least=0):
        raise ValueError(
            f"max_num_of_augmentations: expected a whole number of at least 0, got {value!r}."
        )
    return int(value)


def _imitate(
    function: ModelOutput,
    matrix: NDArray[Any],
    every: SparseExamples | None,
    *,
    explainable: ExplainableModel,
    categorical: Sequence[str | int] | None,
    most: int,
    random_state: int,
    values: str,
) -> StandIn:
    """Fit a surrogate to a model's output."""
    check_probabilities(function, matrix, values)
    columns = function.schema.columns
    coded = {i for i, column in enumerate(columns) if column.matrix_dtype is object}
    named = set(find_columns(categorical, function.schema.names, "categorical_features") or ())
    dates = {i for i in coded - named if columns[i].kind in ("date", "datetime")}
    chosen = CodedColumns(tuple(sorted((coded | named) - dates)), tuple(sorted(dates)))
    examples = matrix
    if every is not None:
        examples = with_short_indices(without_columns(every.rows, every.unread))
        _check_can_stay_sparse(examples, explainable, chosen.categories)
    return Apprenticeship(function, explainable, chosen, most, random_state).fit(examples)


def _check_can_stay_sparse(
    examples: Any, explainable: ExplainableModel, categories: Sequence[int]
) -> None:
    """Refuse what makes a dense table of examples that are too many for one."""
    size = f"{examples.shape[0]} sparse examples of {examples.shape[1]} columns"
    expect(
        len(categories) == 0,
        f"categorical_features: expected none of {size}, which are not made dense, got "
        f"{len(categories)}; bring fewer examples.",
        ValueError,
    )
    name = type(explainable).__name__
    takes_missing = isinstance(explainable, LGBMExplainableModel)
    expect(
        takes_missing or not np.isnan(examples.data).any(),
        f"{name}: expected {size} without missing values, which are not made dense, got some; take "
        "LGBMExplainableModel, or bring fewer examples.",
        ValueError,
    )
