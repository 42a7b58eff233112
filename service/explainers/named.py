"""Explainers by the kind of their model: TabularExplainer with the engine fixed.

Each refuses a model of another kind, where TabularExplainer would take what fits. Next:
:mod:`service.explainers.mimic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from service.engines.options import is_whole, plain_word
from service.engines.sparse.examples import cut_sparse
from service.errors import WrongKindError
from service.explainers.tabular import TabularExplainer
from service.rows.tables import examples_as_table
from service.structures.foreign_networks.read_networks import library_of, read_foreign


class _NamedExplainer(TabularExplainer):
    """TabularExplainer with the engine of one kind of models."""

    kind: ClassVar[str]

    def __init__(
        self,
        model: Any,
        initialization_examples: Any = None,
        explain_subset: Sequence[str | int] | None = None,
        features: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        if initialization_examples is None:
            raise TypeError(
                f"{type(self).__name__}: expected initialization examples, rows that stand for "
                "'feature unknown', got none; pass the training rows as second argument."
            )
        self._refuse_engine(options)
        try:
            super().__init__(
                model,
                initialization_examples,
                explain_subset,
                features,
                classes,
                engine=self.kind,
                **options,
            )
        except WrongKindError as error:
            raise self._refusal(error.said) from None

    def _refusal(self, said: str) -> ValueError:
        return ValueError(f"{type(self).__name__}: {said}; use TabularExplainer.")

    def _refuse_engine(self, options: dict[str, Any]) -> None:
        if "engine" in options:
            raise TypeError(
                f"{type(self).__name__}: expected no engine, since its name says which, got "
                f"engine={options['engine']!r}; use TabularExplainer."
            )


class TreeExplainer(_NamedExplainer):
    """Explain a model of trees, exactly.

    Parameters
    ----------
    model : object
        Trees, a forest or boosting of scikit-learn, LightGBM or XGBoost; pipelines, searches and
        wrappers are looked through.
    initialization_examples : DataFrame or array of shape (n_examples, n_features)
        Needed: values are interventional, on these rows, and not dependent on the trees' own
        counts.
    **options
        Those of :class:`service.explainers.TabularExplainer`, but for `engine`.

    Raises
    ------
    TypeError
        When there are no examples.
    ValueError
        When the model is of another kind.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from service.explainers import TreeExplainer
    >>> rows, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = RandomForestRegressor(5, max_depth=4, random_state=0).fit(rows, y)
    >>> TreeExplainer(model, rows[:50]).explain_global(rows[:9]).get_ranked_global_names(2)
    ['bmi', 's5']
    """

    kind = "tree"


class LinearExplainer(_NamedExplainer):
    """Explain a linear model: in closed form, or sampled around its margin behind a link.

    Parameters
    ----------
    model : object
        A linear regressor or classifier, a linear kernel machine, or a generalised linear model.
    initialization_examples : DataFrame or array of shape (n_examples, n_features)
        All of them count.
    **options
        Those of :class:`service.explainers.TabularExplainer`, but for `engine`.

    Raises
    ------
    TypeError
        When there are no examples.
    ValueError
        When the model is of another kind.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from service.explainers import LinearExplainer
    >>> rows, y = [[0, 0], [2, 0], [0, 4], [2, 4]], [0, 2, 8, 10]
    >>> explainer = LinearExplainer(Ridge(alpha=1e-9).fit(rows, y), rows)
    >>> [round(value, 3) for value in explainer.explain_local([[2, 1]]).local_importance_values[0]]
    [1.0, -2.0]
    """

    kind = "linear"


class KernelExplainer(_NamedExplainer):
    """Explain any model by calling it: Kernel SHAP.

    Parameters
    ----------
    model : object
        A fitted estimator, or a function of rows.
    initialization_examples : DataFrame or array of shape (n_examples, n_features)
        Rows that stand for "feature unknown".
    explain_subset, features, classes : optional
        As in :class:`service.explainers.TabularExplainer`.
    nsamples : "auto" or int, default "auto"
        As in TabularExplainer.
    nclusters : int, optional
        How many weighted centres of k-means stand for the examples; fast, and far from the truth.
        By default all examples count.
    **options
        Those of TabularExplainer, but for `engine`.

    Raises
    ------
    TypeError, ValueError
        As TabularExplainer's, and when both `nclusters` and a background are given.

    Examples
    --------
    >>> from service.explainers import KernelExplainer
    >>> rows = [[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]]
    >>> explainer = KernelExplainer(lambda rows: rows[:, 0] * rows[:, 1], rows)
    >>> explainer.method, explainer.explain_local([[2.0, 4.0]]).num_features
    ('kernel', 2)
    """

    kind = "kernel"

    def __init__(
        self,
        model: Any,
        initialization_examples: Any = None,
        explain_subset: Sequence[str | int] | None = None,
        features: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        *,
        nsamples: str | int = "auto",
        nclusters: int | None = None,
        **options: Any,
    ) -> None:
        if nclusters is not None:
            given = sorted({"background", "background_size"}.intersection(options))
            if given:
                raise ValueError(
                    "KernelExplainer: expected either nclusters or a background, got both "
                    f"nclusters and {given[0]}; leave one out."
                )
            if not is_whole(nclusters, at_least=1):
                raise ValueError(
                    "KernelExplainer: nclusters: expected a whole number of at least 1, got "
                    f"{nclusters!r}."
                )
            options |= {"background": "kmeans", "background_size": nclusters}
        super().__init__(
            model,
            initialization_examples,
            explain_subset,
            features,
            classes,
            nsamples=nsamples,
            **options,
        )


class DeepExplainer(_NamedExplainer):
    """Explain a network, by the Shapley values of the network itself.

    Parameters
    ----------
    model : object
        A ``torch.nn`` module, a model of Keras, or scikit-learn's MLPClassifier and MLPRegressor.
        Modules of Linear, BatchNorm1d, ReLU, Tanh, Sigmoid, Softmax, Identity, Flatten and Dropout,
        and Keras' Sequential of the same, are read into arrays, held against the network on rows,
        and scored without torch or Keras. Every other network is called, in eval mode and without
        gradients.
    initialization_examples : DataFrame or array of shape (n_examples, n_features)
        Rows of numbers that stand for "feature unknown".
    explain_subset, features, classes : optional
        As in :class:`service.explainers.TabularExplainer`.
    **options
        Those of TabularExplainer, but for `engine`. A single sigmoid is the probability of the
        second of two classes; with ``output="margin"`` what comes before it is explained. What ends
        in no sigmoid or softmax is a regression unless ``model_task="classification"`` says that
        it answers logits.

    Raises
    ------
    TypeError
        When there are no examples.
    ValueError
        When the model is no network, or the rows are no numbers.

    Notes
    -----
    Nothing is differentiated: DeepLIFT's rescale rule is not the Shapley value of the network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from service.explainers import DeepExplainer
    >>> rows, species = load_iris(return_X_y=True)
    >>> model = MLPClassifier((5,), max_iter=2000, tol=1e-2, random_state=0).fit(rows, species)
    >>> DeepExplainer(model, rows).method
    'kernel/network'
    """

    kind = "network"

    def __init__(
        self,
        model: Any,
        initialization_examples: Any = None,
        explain_subset: Sequence[str | int] | None = None,
        features: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        library = library_of(model)
        if library is not None and initialization_examples is not None:
            rows = self._numbers(initialization_examples, options)
            task = _task_of(classes, options)
            model = read_foreign(model, library, rows, task)
            self.kind = _KINDS[hasattr(model, "structure")]  # type: ignore[misc]
        super().__init__(
            model, initialization_examples, explain_subset, features, classes, **options
        )

    def _numbers(self, examples: Any, options: dict[str, Any]) -> Any:
        if options.get("transformations") is not None:
            raise ValueError(
                "DeepExplainer: expected no transformations before a network of torch or Keras, "
                "got some; use TabularExplainer with a function that calls the network."
            )
        try:
            few, _ = cut_sparse(examples, 0)
            return np.asarray(examples_as_table(few), dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                "DeepExplainer: expected initialization examples of numbers alone, got others; "
                "encode them, or use TabularExplainer with a function of rows."
            ) from None


# Of a network that was read, and of one that is called.
_KINDS = {True: "network", False: "auto"}


def _task_of(classes: Sequence[Any] | None, options: dict[str, Any]) -> str:
    """Return the task that is said; names of classes say it too."""
    task = str(plain_word(options.get("model_task", "unknown")))
    return "classification" if task == "unknown" and classes is not None else task
