"""The scoring explainer: what is saved next to the model and served with it.

Next: :mod:`service.scoring.stored_form`.
"""

from __future__ import annotations

from copy import copy
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Tags, TargetTags

from service.engines.choice import choose_engine
from service.engines.local_importances import LocalImportances
from service.engines.options import EngineOptions
from service.engines.outputs import N_COMPARED_ROWS, ModelOutput, task_of
from service.engines.progress import no_progress, progress_bar
from service.engines.row_explainer import RowExplainer, class_names, find_tolerance
from service.engines.transformed.engineered import EngineeredExplainer
from service.rows.json_rows import JsonRows, parse
from service.rows.schema import Schema
from service.scoring.stored_form import rebuild, take_apart
from service.shapley import kernels
from service.shapley.background import Background, spread_out


class KernelScoringExplainer:
    """Answers with local importances at scoring time; light, picklable and read-only.

    It explains the same output of the model, on the same background and with the same engine as the
    explainer it is made from, so it gives the numbers that ``explain_local`` gave. The engine alone
    carries the model, where it calls it. One instance may be shared by any number of threads: the
    same row gives the same bytes alone, in a batch, and in every thread and process.

    Parameters
    ----------
    original_explainer : service.explainers.TabularExplainer or shap.KernelExplainer
    initialization_examples : DataFrame or array of shape (n_examples, n_features), optional
        Examples for a new background, in the columns of the original; by default its background is
        kept.
    nsamples : "auto" or int, optional
        The work for a row counted in coalitions, as in ``TabularExplainer``; by default that of the
        original, "auto" for a ``shap.KernelExplainer``. Exact engines ("linear", "tree", "product",
        "polynomial") evaluate none, whatever it is.
    random_state : int, optional
        Seed of the sampled coalitions, and of the new background if there is one; by default that
        of the original, 0 for a ``shap.KernelExplainer``.
    engineered : bool, default False
        Whether to take along what explains rows by the columns that transformations make, for
        ``explain(rows, get_raw=False)``. The original has transformations then.

    Raises
    ------
    TypeError
        When the original explainer is of another kind.
    ValueError
        When an option is out of range, or a ``shap.KernelExplainer`` has a link other than the
        identity or keeps the index.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> from service.scoring import KernelScoringExplainer
    >>> rows = pd.DataFrame({"size": [0.0, 1.0, 0.0, 1.0], "age": [0.0, 0.0, 1.0, 1.0]})
    >>> model = LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> scoring_explainer = KernelScoringExplainer(TabularExplainer(model, rows))
    >>> result = scoring_explainer.explain_rows(rows)
    >>> result.values.round(3)[3].tolist()
    [1.0, -0.5]
    >>> scoring_explainer.features, scoring_explainer.method
    (['size', 'age'], 'linear')
    """

    def __init__(
        self,
        original_explainer: Any,
        initialization_examples: Any = None,
        *,
        nsamples: str | int | None = None,
        random_state: int | None = None,
        engineered: bool = False,
    ) -> None:
        original = _row_explainer(original_explainer)
        if initialization_examples is None:
            explainer = original.with_sampling(nsamples, random_state)
        else:
            explainer = original.with_examples(initialization_examples, nsamples, random_state)
        self._explainer = explainer.without_model()
        self._engineered: EngineeredExplainer | None = None
        if engineered:
            self._engineered = _engineered_explainer(original_explainer).without_model()

    @property
    def row_explainer(self) -> RowExplainer:
        """The core that does the work, for callers whose rows are checked already."""
        return self._explainer

    @property
    def features(self) -> list[str]:
        """Feature names, along the last axis of the importances."""
        return self._explainer.features

    @property
    def classes(self) -> list[Any] | None:
        """Class names, along the first axis of a classifier's importances; None for regressors."""
        return self._explainer.classes

    @property
    def expected_values(self) -> Any:
        """The model's mean output over the background.

        One number for a regressor, a list of one for each class or target else.
        """
        return self._explainer.expected_values.tolist()

    @property
    def method(self) -> str:
        """How the importances are computed; see :class:`service.scoring.LocalImportances`."""
        return self._explainer.method

    @property
    def kernels(self) -> str:
        """What computes here: "numpy", or "compiled" with the level of instructions."""
        return kernels.current.name

    @property
    def exactness(self) -> str:
        """Whether the importances are exact, in words: "exact", "sampled", or exact on what."""
        return self._explainer.exactness

    @property
    def output(self) -> str:
        """The scale of the importances: "probability", "margin" or "prediction"."""
        return self._explainer.function.scale

    @property
    def schema(self) -> Schema:
        """The columns that rows must have."""
        return self._explainer.schema

    @property
    def example(self) -> dict[str, Any]:
        """A row that fits the model, as a record: the first of the initialization examples."""
        return self.schema.records(self._explainer.example)[0]

    def read_rows(self, raw_data: JsonRows) -> pd.DataFrame | NDArray[Any]:
        """Read a request body into rows of the form that the model was fitted on.

        Parameters
        ----------
        raw_data : str, bytes, dict or list
            JSON text, or parsed JSON, in one of the shapes of :mod:`service.rows.json_rows`.

        Returns
        -------
        DataFrame or ndarray of shape (n_rows, n_features)

        Raises
        ------
        PayloadError
            When the body does not fit; the message says where, and is safe to show to a client.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LinearRegression
        >>> from service.explainers import TabularExplainer
        >>> from service.scoring import KernelScoringExplainer
        >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> original = TabularExplainer(LinearRegression().fit(X, X[:, 0]), X, features=["a", "b"])
        >>> KernelScoringExplainer(original).read_rows('[{"b": 3, "a": 2}]')
        array([[2., 3.]])
        """
        return self.schema.model_rows(parse(raw_data, self.schema))

    def explain(self, rows: Any, get_raw: bool = True) -> list[Any]:
        """Compute local importances as nested lists.

        Parameters
        ----------
        rows : DataFrame, array of shape (n_rows, n_features), list of records or list of lists
            A DataFrame and records are matched by column name. Raw rows, where the original
            explainer has transformations.
        get_raw : bool, default True
            False asks for the importances of the columns that the transformations make, of an
            explainer that was built with ``engineered=True``.

        Returns
        -------
        list
            ``[class][row][feature]`` for classifiers (classes in ``predict_proba`` column order),
            ``[row][feature]`` for regressors, ``[target][row][feature]`` for those with several
            targets.

        Raises
        ------
        PayloadError
            When the rows do not fit the model's columns.
        ModelOutputError
            When the model answers NaN or infinity.
        """
        return self.explain_rows(rows, get_raw=get_raw).to_lists()

    def explain_rows(
        self,
        rows: Any,
        *,
        get_raw: bool = True,
        n_jobs: int | None = None,
        show_progress: bool = False,
    ) -> LocalImportances:
        """Compute local importances as arrays, with what is needed to read them.

        Parameters
        ----------
        rows : DataFrame, array of shape (n_rows, n_features), list of records or list of lists
            As in :meth:`explain`.
        get_raw : bool, default True
            As in :meth:`explain`.
        n_jobs : int, optional
            Number of joblib jobs, −1 for all processors; the backend is joblib's choice or
            ``joblib.parallel_config``'s. The numbers do not depend on it.
        show_progress : bool, default False
            Show a bar on a terminal once the work takes longer than a second.

        Returns
        -------
        LocalImportances

        Raises
        ------
        PayloadError, ModelOutputError
            As in :meth:`explain`.
        ValueError
            When `n_jobs` is no number of jobs.
        """
        explainer = self._explainer if get_raw else self._with_engineered()
        return explainer.explain(rows, progress_bar if show_progress else no_progress, n_jobs)

    def _with_engineered(self) -> EngineeredExplainer:
        engineered = self.__dict__.get("_engineered")  # not in what older versions have saved
        if engineered is None:
            raise ValueError(
                "get_raw=False: expected a scoring explainer with engineered importances, got one "
                "without; make it by KernelScoringExplainer(explainer, engineered=True)."
            )
        return engineered

    def predict(self, X: Any) -> list[Any]:
        """Return :meth:`explain`, so that the explainer can end a scikit-learn pipeline."""
        return self.explain(X)

    def fit(self, X: Any, y: Any = None) -> KernelScoringExplainer:
        """Do nothing, as the pipeline interface asks; everything was learned at construction."""
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """Pickle in plain parts that name no module but that of the function that joins them."""
        if type(self) is not KernelScoringExplainer:
            return super().__reduce_ex__(protocol)
        return rebuild, ({"kind": "KernelScoringExplainer", "state": take_apart(self.__dict__)},)

    @property
    def model_type(self) -> str:
        """The type of the explained model, with its module."""
        return self._explainer.function.type_name

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that there is nothing to fit."""
        return Tags(estimator_type=None, target_tags=TargetTags(required=False), requires_fit=False)

    def to_dict(self) -> dict[str, Any]:
        """Describe the explainer in plain values, for the manifest."""
        explainer, engine, background = (
            self._explainer,
            self._explainer.engine,
            self._explainer.engine.background,
        )
        return {
            "method": self.method,
            "output": self.output,
            "task": explainer.function.task,
            "model": self.model_type,
            "note": explainer.note,
            "features": self.features,
            "classes": self.classes,
            "labels": explainer.labels,
            "expected_values": self.expected_values,
            "columns": self.schema.to_dict(),
            "background": {
                "kind": background.kind,
                "n_rows": background.n_rows,
                "n_examples": background.n_examples,
                "relative_error": background.relative_error,
            },
            "nsamples": explainer.options.nsamples,
            "relative_standard_error": engine.relative_standard_error(),
            "precision": engine.precision,
            "random_state": explainer.options.random_state,
            **self._stand_in,
        }

    @property
    def _stand_in(self) -> dict[str, Any]:
        """What is known of the surrogate that is explained; nothing where there is none."""
        stand_in = self._explainer.stand_in
        if stand_in is None:
            return {}
        residual = stand_in.residual.tolist()
        return {"surrogate": {**stand_in.description, "example_residual": residual}}


def _row_explainer(original: Any) -> RowExplainer:
    """Take an explainer of the training side as it is, and read one of shap's."""
    row_explainer = getattr(original, "row_explainer", None)
    if isinstance(row_explainer, RowExplainer):
        return row_explainer
    if any(map(_is_shaps_kernel_explainer, type(original).__mro__)):
        return _from_shap(original)
    raise TypeError(
        "KernelScoringExplainer: expected one of service.explainers that explains rows "
        "(TabularExplainer, MimicExplainer, an explainer by name) or a shap.KernelExplainer, got "
        f"{type(original).__name__}."
    )


def _engineered_explainer(original: Any) -> EngineeredExplainer:
    engineered = getattr(original, "engineered_explainer", None)
    if isinstance(engineered, EngineeredExplainer):
        return engineered
    raise ValueError(
        "engineered: expected an explainer with transformations, got "
        f"{type(original).__name__} without."
    )


def _is_shaps_kernel_explainer(cls: type) -> bool:
    return cls.__module__.startswith("shap.") and cls.__name__ == "KernelExplainer"


def _from_shap(original: Any) -> RowExplainer:
    """Take over the function, background rows and weights of a ``shap.KernelExplainer``."""
    _check_shap(original)
    rows = np.asarray(original.data.data)
    model, scale, task = _explained(original)
    given = getattr(original, "data_feature_names", None)
    owner = getattr(model, "__self__", model)  # a bound method takes what its model was fitted on
    schema = Schema.of(rows, original.data.group_names if given is None else given, owner)
    output = ModelOutput(model, scale, task, schema).settled(schema.matrix(rows))
    background = Background.weighted(schema.matrix(rows), original.data.weights, "given", len(rows))
    options = EngineOptions()
    engine, note = choose_engine(output, background.rows, options, background)
    classes = class_names(output, None, len(engine.expected_values))
    answers = output(spread_out(background.rows, N_COMPARED_ROWS))
    tolerance = find_tolerance(output, answers, engine)
    example = schema.matrix(rows[:1])
    return RowExplainer(output, engine, options, example, classes, note=note, tolerance=tolerance)


def _check_shap(original: Any) -> None:
    link = type(original.link).__name__ + getattr(original.link, "__name__", "")
    if "identity" not in link.lower():
        raise ValueError(
            "KernelScoringExplainer: expected a shap.KernelExplainer with link='identity', got "
            "another link."
        )
    if original.keep_index:
        raise ValueError(
            "KernelScoringExplainer: expected a shap.KernelExplainer with keep_index=False, got "
            "keep_index=True; rows have no index when they are served."
        )


def _explained(original: Any) -> tuple[Any, str, str]:
    """Find model, scale and task of a ``shap.KernelExplainer``.

    Of ``model.predict_proba`` and its like the model itself is kept, and not only its method. A
    classifier's ``predict`` stays a plain function: labels are no output that this package
    explains.
    """
    function = original.model.f
    task = "classification" if original.vector_out else "regression"
    model, method = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if method not in _SCALES or not hasattr(model, "predict"):
        return function, "prediction", task
    model = _with_its_names(model, original)
    if method != "predict":
        return model, _SCALES[method], task
    if task_of(model) == "classification":
        return model.predict, "prediction", task
    return model, "prediction", "regression"


def _with_its_names(model: Any, original: Any) -> Any:
    """Give ``feature_names_in_`` back to a model that shap has copied, with None in its place."""
    if getattr(model, "feature_names_in_", original) is not None:
        return model
    names: Any = list(original.data.group_names)
    if names == [str(i) for i in range(len(names))]:  # what shap calls the columns of an array
        names = getattr(original, "data_feature_names", None)
    if names is None:
        return model
    named = copy(model)
    named.feature_names_in_ = np.array(names, dtype=object)
    return named


_SCALES = {"predict_proba": "probability", "decision_function": "margin", "predict": "prediction"}
