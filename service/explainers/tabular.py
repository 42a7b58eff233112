"""TabularExplainer: local and global explanations of a fitted model on tabular data.

It does not serve: make a :class:`service.scoring.KernelScoringExplainer` from it for that. Which
engine explains which model is written in :mod:`service.engines.choice`, which output is explained
in :mod:`service.engines.outputs`. Next: :mod:`service.explainers.pieces`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from service.engines.local_importances import LocalImportances
from service.engines.options import EngineOptions, check_jobs
from service.engines.progress import progress_bar
from service.engines.row_explainer import RowExplainer
from service.engines.transformed.engineered import EngineeredExplainer
from service.explainers.pieces import in_pieces
from service.explainers.transformations import build_engineered, compose
from service.explanations import GlobalExplanation, LocalExplanation
from service.explanations.batches import choose_jobs, explain_in_batches, gather
from service.explanations.context import ExplanationContext, label_rows, tell_nothing
from service.rows.tables import row_as_table
from service.shapley.kernel import Stopping
from service.structures.encoders import TransformedModel


class TabularExplainer:
    """Explain a fitted model by the Shapley values of its output.

    Parameters
    ----------
    model : object
        A fitted estimator with ``predict`` (a classifier also with ``predict_proba`` or
        ``decision_function``), or a function that takes rows and returns one number per row
        (regression) or one column per class.
    initialization_examples : DataFrame or array of shape (n_examples, n_features)
        Rows that stand for "feature unknown", usually the training rows. They also fix the columns
        that rows must have.
    explain_subset : sequence of str or int, optional
        Names or positions of the features whose importances are reported. They are the same numbers
        as without it, so their sum leaves out the rest. Of engineered columns those are reported
        that are made of them.
    features : sequence of str, optional
        Feature names; by default the DataFrame's columns, or "0", "1", … for an array.
    classes : sequence, optional
        Class names in ``predict_proba`` column order; by default the model's ``classes_``.
    transformations : transformer or list of (columns, transformer), optional
        Fitted ones that stand before the model: a ColumnTransformer, Pipeline, FeatureUnion or any
        other transformer; a list in sklearn-pandas' form, where ``"a"`` gives its transformer one
        axis and ``["a"]`` two, and None keeps the columns; a DataFrameMapper. The model behind them
        is explained on raw rows, and raw columns are the players; the examples are raw rows too. A
        column that reaches no transformer gets exactly 0.
    allow_all_transformations : bool, default False
        Accepted from code that was written for interpret-community, without effect: every
        transformer is allowed.
    use_gpu : bool, default False
        There is no engine for graphics cards: True is accepted with a warning.
    is_function : bool, default False
        True takes `model` as a function of rows even if it has ``predict``.
    model_task : {"unknown", "classification", "regression"}, default "unknown"
        "unknown" asks the model.
    output : {"auto", "probability", "margin", "prediction"}, default "auto"
        The scale of the importances. "auto" is "prediction" for regressors and functions, "margin"
        (``decision_function``) for linear and boosted classifiers and for outlier detectors, and
        "probability" for every other classifier with ``predict_proba``.
    engine : {"auto", "tree", "linear", "network", "kernel", "shap"}, default "auto"
        "auto" looks into the model: exact for linear models, trees, forests, boosting and kernel
        machines (RBF, polynomial); sampled without a call of the model behind a link and for neural
        networks; otherwise the model is called. "tree", "linear" and "network" do the same for a
        model of that kind and refuse any other. "kernel" calls any model, "shap" uses
        ``shap.KernelExplainer`` as it is. See :mod:`service.engines.choice`.
    background : {"auto", "whole", "sample", "kmeans"}, default "auto"
        Which examples stand for "unknown". "auto" is all of them, down to a sample of what an exact
        engine can afford; where values are sampled, coalitions and background rows are drawn
        together, for an estimate on all. "whole" lets every coalition meet every example where the
        model is called; elsewhere it is "auto" without the cut. "kmeans" takes weighted centres:
        fast, and far from the truth.
    background_size : int, optional
        Number of centres (default 10) or of sampled rows (default 100) with "kmeans" and "sample";
        with no other background.
    nsamples : "auto" or int, default "auto"
        The work for a row where values are sampled, counted in coalitions. "auto" begins with an
        eighth of 2 · n_features + 2048, and goes on, to all of them at most, until the mean
        standard error is a tenth of the mean absolute importance; a number is the work for every
        row. A coalition counts for all rows of a background chosen by name, or for 12 where
        background rows are drawn; the same work is spread over more coalitions where that tells
        more. Exact when all coalitions meet the whole background. From five features on at
        least 4 · n_features.
    tolerance : float, optional
        Sample until the mean standard error is this share of the mean absolute importance, in
        further rounds where the work of `nsamples` is not enough.
    time_budget : float, optional
        Seconds a row; no further round is begun after them. Alone it fills the time, with a
        tolerance it limits it. What is reached depends on the machine, so the numbers are not
        repeatable.
    surrogate : bool, default True
        Whether a model that is called may get a small boosted-tree model as control variate. It is
        fitted here and kept only if it lowers the standard error; the estimate aims at the same
        values with or without it.
    random_state : int, default 0
        Seed of everything that is sampled.
    nullable : bool or sequence of str, default False
        Names of columns that may be missing in a row although no example lacks them, as where the
        model's pipeline imputes; True for every column in which the model takes a missing value.
        The model is asked when the explainer is built.

    Raises
    ------
    TypeError, ValueError
        When the model is no model, a part of the transformations is not fitted, or the model does
        not take what they make; when the examples are no table, an option is out of range, or the
        model takes no missing value where `nullable` says so.

    Notes
    -----
    The target is the interventional Shapley value, as in ``shap.KernelExplainer`` (Lundberg and
    Lee, "A Unified Approach to Interpreting Model Predictions", 2017): expected value +
    Σ importances = the model's output, for every class. Binary classifiers have two classes in
    every engine.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from service.explainers import TabularExplainer
    >>> rows, species = load_iris(return_X_y=True, as_frame=True)
    >>> model = RandomForestClassifier(n_estimators=20, random_state=0).fit(rows, species)
    >>> explainer = TabularExplainer(model, rows, classes=["setosa", "versicolor", "virginica"])
    >>> explainer.method, explainer.output
    ('tree', 'probability')
    >>> local = explainer.explain_local(rows[:1])
    >>> dict(zip(local.classes, local.get_ranked_local_names(top_k=1), strict=True))["setosa"]
    [['petal width (cm)']]
    >>> explainer.explain_global(rows).get_ranked_global_names(top_k=2)
    ['petal width (cm)', 'petal length (cm)']
    """

    def __init__(
        self,
        model: Any,
        initialization_examples: Any,
        explain_subset: Sequence[str | int] | None = None,
        features: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        *,
        transformations: Any = None,
        allow_all_transformations: bool = False,
        use_gpu: bool = False,
        is_function: bool = False,
        model_task: str = "unknown",
        output: str = "auto",
        engine: str = "auto",
        background: str = "auto",
        background_size: int | None = None,
        nsamples: str | int = "auto",
        tolerance: float | None = None,
        time_budget: float | None = None,
        surrogate: bool = True,
        random_state: int = 0,
        nullable: bool | Sequence[str] = False,
    ) -> None:
        _warn_of(use_gpu, "use_gpu: no engine is for graphics cards, and the numbers are the same")
        self.model = as_function(model) if is_function else model
        if transformations is not None:
            self.model = compose(transformations, self.model, initialization_examples, features)
        self.initialization_examples = initialization_examples
        self.row_explainer = RowExplainer.build(
            self.model,
            initialization_examples,
            features=features,
            classes=classes,
            subset=explain_subset,
            output=output,
            task=model_task,
            nullable=nullable,
            options=EngineOptions(
                engine=engine,
                background=background,
                background_size=background_size,
                nsamples=nsamples,
                random_state=random_state,
                surrogate=surrogate,
                stopping=Stopping(tolerance, time_budget),
            ),
        )

    @property
    def features(self) -> list[str]:
        """Feature names, along the last axis of the importances."""
        return self.row_explainer.features

    @property
    def classes(self) -> list[Any] | None:
        """Class names; None for regressors."""
        return self.row_explainer.classes

    @property
    def method(self) -> str:
        """The engine chosen; see :class:`service.scoring.LocalImportances`."""
        return self.row_explainer.method

    @property
    def output(self) -> str:
        """The scale explained: "probability", "margin" or "prediction"."""
        return self.row_explainer.function.scale

    @cached_property
    def engineered_explainer(self) -> EngineeredExplainer:
        """What explains raw rows by the columns that the transformations make of them.

        It is built when it is asked for first.

        Raises
        ------
        ValueError
            When there are no transformations.
        """
        if not isinstance(self.model, TransformedModel):
            raise ValueError(
                "engineered: expected of an explainer with transformations, got one without; its "
                "features are those of the model already."
            )
        return build_engineered(self.model, self.initialization_examples, self.row_explainer)

    def explain_local(
        self, evaluation_examples: Any, *, engineered: bool = False, n_jobs: int | None = None
    ) -> LocalExplanation:
        """Explain each row by itself.

        Parameters
        ----------
        evaluation_examples : DataFrame, array, list of records or list of lists
            Rows of `n_features` columns; raw ones, where there are transformations. A DataFrame and
            records are matched by column name. A Series, or an array of shape (n_features,), is one
            row, and the answer has no axis of rows then.
        engineered : bool, default False
            Whether the answer has an explanation of the same rows by the columns that the
            transformations make, as ``engineered``.
        n_jobs : int, optional
            Number of joblib jobs, −1 for all processors. The numbers do not depend on it.

        Returns
        -------
        LocalExplanation

        Raises
        ------
        service.scoring.PayloadError
            When the rows do not fit the columns of the initialization examples.
        service.scoring.ModelOutputError
            When the model answers NaN or infinity.
        ValueError
            When `n_jobs` is no number of jobs.
        """
        importances = self._explain(evaluation_examples, n_jobs)
        context = self._describe(evaluation_examples)
        if engineered:
            context = replace(context, engineered=self._engineer(evaluation_examples, n_jobs))
        return LocalExplanation(importances, context)

    def explain_global(
        self,
        evaluation_examples: Any,
        *,
        include_local: bool = True,
        batch_size: int | None = None,
        sampling_policy: Any = None,
        n_jobs: int | None = None,
    ) -> GlobalExplanation:
        """Explain the model as a whole, by the mean absolute local importance of some rows.

        Parameters
        ----------
        evaluation_examples : DataFrame, array, list of records or list of lists
            Rows of `n_features` columns. A DataFrame and records are matched by column name. A
            Series, or an array of shape (n_features,), is one row. Sparse rows stay sparse. Also an
            iterator of such tables or of single rows, a list of DataFrames or of arrays, or the
            path of a Parquet file.
        include_local : bool, default True
            Whether the local importances are kept. Without them memory does not grow with the
            number of rows, and the global ones are the same but for the last digits.
        batch_size : int, optional
            How many rows are explained at once where no local importances are kept; by default as
            many as give 4 MB of importances.
        sampling_policy : object, optional
            Nothing is sampled from the rows: one is accepted with a warning.
        n_jobs : int, optional
            Number of joblib jobs, −1 for all processors. By default they are threads, on all
            processors that this process may use, where nothing but this package and libraries that
            are made for threads is called, and one job otherwise. The numbers do not depend on it.

        Returns
        -------
        GlobalExplanation

        Raises
        ------
        service.scoring.PayloadError
            When the rows do not fit the columns of the initialization examples.
        service.scoring.ModelOutputError
            When the model answers NaN or infinity.
        ValueError
            When `batch_size` is not positive, or `n_jobs` no number of jobs.
        """
        _warn_of(sampling_policy, "sampling_policy: all rows are explained; pass fewer of them")
        check_jobs(n_jobs)
        n_jobs = choose_jobs(self.row_explainer, n_jobs)
        pieces = in_pieces(evaluation_examples)
        if not include_local:
            overall = explain_in_batches(
                self.row_explainer, pieces, batch_size, n_jobs, progress_bar
            )
            context = replace(self._describe(None), ask=tell_nothing)
            return GlobalExplanation(None, context, overall)
        rows = gather(self.row_explainer, pieces)
        return GlobalExplanation(self._explain(rows, n_jobs), self._describe(rows))

    def _explain(self, rows: Any, n_jobs: int | None) -> LocalImportances:
        return self.row_explainer.explain(rows, progress_bar, n_jobs)

    def _engineer(self, rows: Any, n_jobs: int | None) -> LocalExplanation:
        """Explain raw rows by the columns that the transformations make of them."""
        explainer = self.engineered_explainer
        context = replace(
            self._describe(rows),
            is_raw=False,
            is_engineered=True,
            feature_maps=explainer.feature_maps,
            raw_features=self.features,
        )
        return LocalExplanation(explainer.explain(rows, progress_bar, n_jobs), context)

    def _describe(self, rows: Any) -> ExplanationContext:
        """Return what is known of an explanation of some rows beside its importances."""
        function = self.row_explainer.function
        return ExplanationContext(
            model_task=function.task,
            model_type=function.type_name,
            class_labels=self.row_explainer.labels,
            is_raw=isinstance(self.model, TransformedModel),
            is_one_row=row_as_table(rows) is not rows,
            row_labels=label_rows(rows),
            eval_data=rows,
            ask=partial(self.row_explainer.ask_model, rows),
            init_data=self.initialization_examples,
        )


def as_function(model: Any) -> Any:
    """Take a model as a function of rows, whatever methods it has."""
    if not callable(model):
        raise TypeError(
            f"is_function: expected a model that can be called with rows, got "
            f"{type(model).__name__}; leave it out."
        )
    return model.__call__ if hasattr(model, "predict") else model


def _warn_of(option: Any, why: str) -> None:
    """Say that an option of interpret-community's changes nothing here, where one is given."""
    if option:
        warnings.warn(f"{why}.", UserWarning, stacklevel=3)
