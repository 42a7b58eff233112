"""TabularExplainer: local and global explanations of a fitted model on tabular data.

It does not serve: make a :class:`service.scoring.KernelScoringExplainer` from it for that. Which engine explains which
model is written in :mod:`service.scoring.choice`, which output is explained in :mod:`service.scoring.outputs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tqdm import tqdm

from service.explainers.explanation import GlobalExplanation, LocalExplanation
from service.scoring.choice import EngineOptions
from service.scoring.row_explainer import RowExplainer


class TabularExplainer:
    """Explain a fitted model by the Shapley values of its output.

    Parameters
    ----------
    model : object
        A fitted estimator with ``predict`` (a classifier also with ``predict_proba`` or ``decision_function``), or a
        function that takes rows and returns one number per row (regression) or one column per class.
    initialization_examples : DataFrame or array of shape (n_examples, n_features)
        Rows that stand for "feature unknown", usually the training rows. They also fix the columns that rows must have.
    explain_subset : sequence of str or int, optional
        Names or positions of the features whose importances are reported. They are the same numbers as without it.
    features : sequence of str, optional
        Feature names; by default the DataFrame's columns, or "0", "1", … for an array.
    classes : sequence, optional
        Class names in ``predict_proba`` column order; by default the model's ``classes_``.
    transformations : optional
        Not supported yet: raises NotImplementedError. Put the transformations into the model with a scikit-learn
        ``Pipeline``, and importances are given for the raw features.
    model_task : {"unknown", "classification", "regression"}, default "unknown"
        "unknown" asks the model.
    output : {"auto", "probability", "margin", "prediction"}, default "auto"
        The scale of the importances. "auto" is "prediction" for regressors and functions, "margin"
        (``decision_function``) for linear and boosted classifiers, and "probability" for every other classifier with
        ``predict_proba``.
    engine : {"auto", "kernel"}, default "auto"
        "auto" is exact where the model's kind and the output allow it (linear models, trees, forests, boosting) and
        Kernel SHAP otherwise; "kernel" is Kernel SHAP for any model.
    background : {"auto", "whole", "sample", "kmeans"}, default "auto"
        Which examples are used. "auto" is all of them for the exact engines; for Kernel SHAP, all up to 100 rows and
        weighted k-means centres beyond. The centres are fast and can be far from the truth; "whole" switches them off.
    background_size : int, optional
        Number of centres (default 10) or of sampled rows (default 100).
    nsamples : "auto" or int, default "auto"
        Largest number of coalitions Kernel SHAP evaluates a row; "auto" is 2 · n_features + 2048. It is exact when
        2^n_features − 2 is no more than that.
    random_state : int, default 0
        Seed of the sampled coalitions and of the background.

    Raises
    ------
    NotImplementedError
        When `transformations` is given.
    TypeError, ValueError
        When the model is no model, the examples are no table, or an option is out of range.

    Notes
    -----
    The target is the interventional Shapley value, as in ``shap.KernelExplainer`` (Lundberg and Lee 2017): expected
    value + Σ importances = the model's output, for every class. Binary classifiers have two classes in every engine.
    """

    def __init__(
        self,
        model: Any,
        initialization_examples: Any,
        *,
        explain_subset: Sequence[str | int] | None = None,
        features: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        transformations: Any = None,
        model_task: str = "unknown",
        output: str = "auto",
        engine: str = "auto",
        background: str = "auto",
        background_size: int | None = None,
        nsamples: str | int = "auto",
        random_state: int = 0,
    ) -> None:
        if transformations is not None:
            raise NotImplementedError(
                "TabularExplainer: transformations are not supported yet; put them into the model with a "
                "sklearn.pipeline.Pipeline, and importances are given for the raw features."
            )
        self.row_explainer = RowExplainer.build(
            model,
            initialization_examples,
            features=features,
            classes=classes,
            subset=explain_subset,
            output=output,
            task=model_task,
            options=EngineOptions(engine, background, background_size, nsamples, random_state),
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
        """The engine chosen: "linear", "tree" or "kernel"."""
        return self.row_explainer.engine.method

    @property
    def output(self) -> str:
        """The scale explained: "probability", "margin" or "prediction"."""
        return self.row_explainer.function.scale

    def explain_local(self, evaluation_examples: Any) -> LocalExplanation:
        """Explain each row by itself.

        Parameters
        ----------
        evaluation_examples : DataFrame, array of shape (n_rows, n_features), list of records or list of lists

        Returns
        -------
        LocalExplanation

        Raises
        ------
        service.scoring.PayloadError
            When the rows do not fit the columns of the initialization examples.
        """
        return LocalExplanation(self.row_explainer.explain(evaluation_examples, _progress))

    def explain_global(self, evaluation_examples: Any) -> GlobalExplanation:
        """Explain the model as a whole by the mean absolute local importance of some rows.

        Parameters
        ----------
        evaluation_examples : DataFrame, array of shape (n_rows, n_features), list of records or list of lists

        Returns
        -------
        GlobalExplanation

        Raises
        ------
        service.scoring.PayloadError
            When the rows do not fit the columns of the initialization examples.
        """
        return GlobalExplanation(self.row_explainer.explain(evaluation_examples, _progress))


def _progress(rows: Iterable[Any]) -> Iterable[Any]:
    """Show a bar once the work takes longer than a second, and only on a terminal."""
    return tqdm(rows, desc="Explaining", unit="row", delay=1, disable=None)
