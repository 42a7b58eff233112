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
from sklearn.metrics import r2_score

from service.engines.options import EngineOptions, check_choice, is_whole
from service.engines.outputs import ModelOutput
from service.engines.row_explainer import RowExplainer, StandIn, find_columns
from service.explainers.mimic.explainable_models import ExplainableModel, make_explainable
from service.explainers.mimic.fidelity import Followed, warn_of_infidelity
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
        Names or positions of columns that hold categories, beside those whose dtype says so. A
        level that no example has is explained as the most ordinary one of its column, that whose
        rows are answered nearest to the average.
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
        most = augment_data * _checked_most(max_num_of_augmentations)
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
        on fresh hybrids of examples, on which importances are computed; ``agreement``, the share of
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
            The share of rows with the same likeliest class, or R² for a regression.
        """
        matrix = self.row_explainer.schema.matrix(row_as_table(training_data))
        function = self.row_explainer.function
        followed = Followed(function(matrix), self._stand_in.output(matrix))
        if function.task == "classification":
            return followed.agreement
        return float(r2_score(followed.teacher, followed.surrogate))

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
        matrix = self.row_explainer.schema.matrix(row_as_table(rows))
        return (self.row_explainer.function(matrix) - self._stand_in.output(matrix)).T


def _checked_most(value: Any) -> int:
    if not is_whole(value, at_least=0):
        raise ValueError(
            f"max_num_of_augmentations: expected a whole number of at least 0, got {value!r}."
        )
    return int(value)


def _imitate(
    function: ModelOutput,
    matrix: NDArray[Any],
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
    categories = {i for i, column in enumerate(columns) if column.matrix_dtype is object}
    named = find_columns(categorical, function.schema.names, "categorical_features")
    every = tuple(sorted(categories.union(named or ())))
    return Apprenticeship(function, explainable, every, most, random_state).fit(matrix)
