"""PFIExplainer: which columns a metric of a model depends on.

It explains a metric on labelled rows, not a prediction; so it has global importances alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from service.engines.options import (
    check_choice,
    check_different,
    check_jobs,
    is_whole,
    plain_word,
)
from service.engines.outputs import plain_values
from service.engines.row_explainer import find_columns
from service.errors import expect
from service.explainers.pfi.asked_models import TASKS, as_asked, settled
from service.explainers.pfi.expected_columns import expected_columns, in_order_of, read_rows
from service.explainers.pfi.labels import (
    check_shape,
    labels_for,
    read_labels,
    read_weights,
)
from service.explainers.pfi.metrics import Metric, MetricRequest, resolve_metric
from service.explainers.pfi.permuted_rows import (
    Permutation,
    as_asked_rows,
    permute_columns,
)
from service.explainers.transformations import compose
from service.explanations import ExplanationContext, GlobalExplanation, GlobalImportances
from service.explanations.context import label_rows
from service.rows.values import list_names, shown


class PFIExplainer:
    """Explain a metric of a fitted model by how much worse it gets when a column is permuted.

    Parameters
    ----------
    model : object
        A fitted estimator with ``predict`` (for metrics of probabilities also with
        ``predict_proba``), or a function of rows.
    is_function : bool, default False
        Whether `model` is a function of rows; it answers a number for each row, a label, or a
        column for each class. What has no ``predict`` is one anyway.
    metric : str, callable or None
        The name of a scorer (``"roc_auc"``) or of a function of ``sklearn.metrics``
        (``"f1_score"``), such a function, a scorer, or any function of true labels and answers that
        returns a number. By default accuracy for classifiers, and the mean absolute error for
        regressors.
    metric_args : mapping, optional
        Arguments of a metric function.
    is_error_metric : bool, default False
        Whether a metric that is given as a function is an error: less of it is better. Of names it
        is known.
    explain_subset : sequence of str or int, optional
        Names or positions of the columns that are permuted. They are the same numbers as without
        it.
    features : sequence of str, optional
        Feature names; by default the DataFrame's columns, those that the model was fitted on, or
        "0", "1", ….
    classes : sequence, optional
        Class names in ``predict_proba`` column order; by default the model's ``classes_``. What a
        function predicts, and what its columns stand for. Of two classes one column of floats from
        0 to 1 is the probability of the second.
    transformations : transformer or list of (columns, transformer), optional
        Fitted ones that stand before the model, as in :class:`service.explainers.TabularExplainer`.
        Raw columns are permuted, each as a whole.
    allow_all_transformations : bool, default False
        Without effect: every transformer is allowed.
    seed : int, default 0
        Of the permutations.
    n_repeats : int, default 10
        How often each column is permuted.
    for_classifier_use_predict_proba : bool, default False
        Whether a metric function of your own is given probabilities, (n_rows, n_classes), in place
        of labels. Those of ``sklearn.metrics`` get what they need.
    show_progress : bool, default True
        Show a bar on a terminal once the work takes longer than a second.
    model_task : {"unknown", "classification", "regression"}, default "unknown"
        "unknown" asks the model; a function of several columns, or of what are no numbers, is a
        classifier.

    Raises
    ------
    TypeError, ValueError
        When the model is no model, the metric is none, a known error is said to be none, or two
        classes have one name.

    Notes
    -----
    Permutation importance (Breiman, "Random Forests", 2001), by
    :func:`sklearn.inspection.permutation_importance`. A value is what the metric loses, in its own
    unit: positive is important, also where the metric is an error. Raw columns are permuted, each
    as a whole; what comes of several encoded columns one by one does not add up to it. Columns that
    say the same stand in for each other, and both may show nothing.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from service.explainers import PFIExplainer
    >>> rows, species = load_iris(return_X_y=True, as_frame=True)
    >>> model = LogisticRegression(max_iter=1000).fit(rows, species)
    >>> overall = PFIExplainer(model).explain_global(rows, species)
    >>> overall.get_ranked_global_names(top_k=2)
    ['petal length (cm)', 'petal width (cm)']
    >>> overall.method, overall.output
    ('permutation importance', 'accuracy_score')
    """

    def __init__(
        self,
        model: Any,
        *,
        is_function: bool = False,
        metric: Any = None,
        metric_args: Mapping[str, Any] | None = None,
        is_error_metric: bool = False,
        explain_subset: Sequence[str | int] | None = None,
        features: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        transformations: Any = None,
        allow_all_transformations: bool = False,
        seed: int = 0,
        n_repeats: int = 10,
        for_classifier_use_predict_proba: bool = False,
        show_progress: bool = True,
        model_task: str = "unknown",
    ) -> None:
        model_task = check_choice("model_task", model_task, TASKS)
        self._features = list_names("features", features)
        self._classes = list_names("classes", classes)
        check_different("classes", plain_values(self._classes or []))
        self._model_type = f"{type(model).__module__}.{type(model).__qualname__}"
        self._expected = expected_columns(model if transformations is None else transformations)
        self._as_asked = partial(
            as_asked, task=model_task, is_function=is_function, classes=self._classes
        )
        self._model = self._as_asked(model)
        self._behind = model, transformations
        self._task = model_task
        self._request = MetricRequest(
            plain_word(metric), metric_args or {}, is_error_metric, for_classifier_use_predict_proba
        )
        self._subset = explain_subset
        self._n_repeats = _checked("n_repeats", n_repeats, at_least=1)
        self._seed = _checked("seed", seed, at_least=0) % 2**32  # as numpy takes them
        self._show_progress = show_progress
        self._metric_of(self._model)  # what is no metric is refused before there are rows

    def explain_global(
        self,
        evaluation_examples: Any,
        true_labels: Any = None,
        *,
        sample_weight: Any = None,
        max_samples: int | float = 1.0,
        n_jobs: int | None = None,
    ) -> GlobalExplanation:
        """Permute each column of some rows, and measure what the metric loses.

        Parameters
        ----------
        evaluation_examples : DataFrame, array, list of lists, list of records or sparse matrix
            Rows of shape (n_rows, n_features), better those that the model was not fitted on. A
            DataFrame keeps its dtypes, and sparse rows stay sparse. A DataFrame and records are
            matched by column name, where the model knows names.
        true_labels : array-like of shape (n_rows,)
            What the rows are labelled with.
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the rows, for metrics that take them.
        max_samples : int or float, default 1.0
            How many rows, or which share of them, are drawn for each column.
        n_jobs : int, optional
            Number of joblib jobs, −1 for all processors. The numbers do not depend on it.

        Returns
        -------
        GlobalExplanation
            ``standard_errors`` are those of the permutation alone: std(ddof=1)/√n_repeats. They do
            not tell how the importances would be on other rows. None with a single repeat.

        Raises
        ------
        TypeError
            When there are no labels.
        service.scoring.ModelOutputError
            When the model does not take the rows, or answers something else than it should.
        ValueError
            When the rows have not the model's columns, labels or weights do not fit the rows, or
            the metric cannot be computed of them, or `n_jobs` is no number of jobs.
        """
        check_jobs(n_jobs)
        given = read_rows(evaluation_examples, self._expected)
        names = self._names(given)
        columns = find_columns(self._subset, names) or tuple(range(len(names)))
        rows, positions = in_order_of(given, self._expected)
        labels = read_labels(true_labels, rows.shape[0])
        share = _checked_share(max_samples, rows.shape[0])
        model = settled(self._behind_transformations(rows), self._task, rows, labels)
        task = _task_of(model)
        labels = labels_for(model, task, labels)
        check_shape(labels, model, as_asked_rows(rows.copy()))  # it may write into them
        metric = self._metric_of(model)
        losses = permute_columns(
            model,
            metric,
            rows,
            labels,
            columns=[positions[i] for i in columns],
            permutation=Permutation(
                self._n_repeats, self._seed, share, n_jobs, self._show_progress
            ),
            weights=read_weights(sample_weight, rows.shape[0]),
        )
        overall = GlobalImportances(
            values=losses.mean(axis=1),
            features=[names[i] for i in columns],
            n_rows=rows.shape[0],
            method="permutation importance",
            output=metric.name,
            classes=self._class_names(model, task),
            standard_errors=_standard_errors(losses),
        )
        context = ExplanationContext(
            model_task=task,
            model_type=self._model_type,
            is_raw=self._behind[1] is not None,
            row_labels=label_rows(evaluation_examples),
            eval_data=evaluation_examples,
            true_labels=true_labels,
        )
        return GlobalExplanation(None, context, overall)

    def explain_local(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Say why there are no local importances."""
        raise NotImplementedError(
            "PFIExplainer: explain_local cannot exist, since a metric is one number for all rows; "
            "use TabularExplainer for the reasons of single predictions."
        )

    def _behind_transformations(self, rows: Any) -> Any:
        """Return the model as it is asked with raw rows."""
        model, transformations = self._behind
        if transformations is None:
            return self._model
        return self._as_asked(compose(transformations, model, rows, self._features))

    def _names(self, rows: Any) -> list[str]:
        n_columns = rows.shape[1]
        known = {len(self._expected.names): self._expected.names}
        own = getattr(rows, "columns", known.get(n_columns, range(n_columns)))
        names = list(map(str, own if self._features is None else self._features))
        expect(
            (len(names), len(set(names))) == (n_columns, n_columns),
            f"features: expected {n_columns} different names, one for each column of the rows, "
            f"got {len(set(names))} different ones in {len(names)}.",
            ValueError,
        )
        return names

    def _metric_of(self, model: Any) -> Metric:
        classes = getattr(model, "classes_", None)
        return resolve_metric(self._request, _task_of(model), classes)

    def _class_names(self, model: Any, task: str) -> list[Any] | None:
        if task == "regression":
            return None
        own = getattr(model, "classes_", None)
        classes = own if self._classes is None else self._classes
        return None if classes is None else plain_values(classes)


def _task_of(model: Any) -> str:
    return "classification" if is_classifier(model) else "regression"


def _checked(name: str, value: Any, at_least: int) -> int:
    told = f"{name}: expected a whole number of at least {at_least}, got {shown(value)}."
    expect(is_whole(value, at_least), told, ValueError)
    return int(value)


def _checked_share(max_samples: Any, n_rows: int) -> Any:
    """Return how many rows are drawn, or which share of them."""
    is_share = isinstance(max_samples, float) and 2 <= max_samples * n_rows <= n_rows
    is_number = is_whole(max_samples, at_least=2) and max_samples <= n_rows
    told = (
        f"max_samples: expected a share of up to 1.0, or a number of rows from 2 to {n_rows}, "
        "among which values are permuted"
    )
    expect(is_share or is_number, f"{told}, got {shown(max_samples)}.", ValueError)
    return max_samples


def _standard_errors(losses: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the standard errors of the means over permutations; one tells nothing of others."""
    n_repeats = losses.shape[1]
    return losses.std(axis=1, ddof=1) / np.sqrt(n_repeats) if n_repeats > 1 else None
