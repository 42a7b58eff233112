"""Transformations as a list of (columns, transformer), in sklearn-pandas' form.

A list becomes a ColumnTransformer of scikit-learn's whose parts are frozen, so that what is known
of a ColumnTransformer holds for it too, and a saved explainer needs no class but scikit-learn's. A
DataFrameMapper is read from its attributes; sklearn-pandas is not imported. Next:
:mod:`service.explainers.mapper`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from service.structures.class_names import library_name, sklearn_name
from service.structures.encoders import branches_of

EXPECTED = (
    "transformations: expected a fitted transformer (a ColumnTransformer, Pipeline, FeatureUnion), "
    "or a list of (columns, transformer)"
)


def shown(value: Any) -> str:
    """Return a value in words, for messages."""
    return f"{type(value).__name__} {value!r:.80}"


def is_transformer(thing: Any) -> bool:
    """Tell whether something is an object that transforms, and no class."""
    return hasattr(thing, "transform") and not isinstance(thing, type)


def find_unfitted(transformer: Any) -> str:
    """Name the first part of a transformer that is not fitted; "" where all are.

    >>> from sklearn.impute import SimpleImputer
    >>> find_unfitted(make_pipeline(FunctionTransformer(), SimpleImputer()))
    'SimpleImputer'
    """
    for inner in _PARTS.get(sklearn_name(transformer), _no_parts)(transformer):
        unfitted = find_unfitted(inner)
        if unfitted:
            return unfitted
    if library_name(transformer) != "sklearn":  # of others nothing is known but what they say
        return ""
    try:
        check_is_fitted(transformer)
    except NotFittedError:
        return type(transformer).__name__
    return ""


def _no_parts(_: Any) -> list[Any]:
    return []


def _no_transformer(*_: Any) -> None:
    return None


def _parts_of_columns(transformer: Any) -> list[Any]:
    return [step for _, step, _ in getattr(transformer, "transformers_", ())]


def _parts_of_pipeline(pipeline: Any) -> list[Any]:
    return [step for _, step in pipeline.steps]


_PARTS: dict[str, Callable[[Any], list[Any]]] = {
    "ColumnTransformer": _parts_of_columns,
    "FeatureUnion": branches_of,
    "Pipeline": _parts_of_pipeline,
}


def refuse_unfitted(part: str) -> NoReturn:
    """Refuse transformations of which a part is not fitted.

    Raises
    ------
    ValueError
        Naming the part.
    """
    raise ValueError(
        f"transformations: expected fitted ones, but {part} is not fitted; fit it on the raw "
        "training rows first, since it is composed with the model as it is."
    )


def read_mapper(mapper: Any, rows: Any) -> ColumnTransformer:
    """Read what an object like sklearn-pandas' DataFrameMapper is made of.

    Parameters
    ----------
    mapper : object
        With ``features``, a list of parts, and perhaps its other attributes.
    rows : DataFrame or array of shape (n_rows, n_raw)
    """
    remainder = getattr(mapper, "built_default", getattr(mapper, "default", False))
    return join_parts(
        mapper.features,
        rows,
        takes_frames=getattr(mapper, "input_df", False),
        remainder="drop" if remainder is False else remainder,
        dropped=getattr(mapper, "drop_cols", None) or (),
    )


def join_parts(
    parts: Sequence[Any],
    rows: Any,
    takes_frames: bool | None = None,
    remainder: Any = "drop",
    dropped: Sequence[Any] = (),
) -> ColumnTransformer:
    """Put fitted parts next to each other, in a ColumnTransformer that fits none of them again.

    Parameters
    ----------
    parts : sequence of (columns, transformer) or (columns, transformer, options)
    rows : DataFrame or array of shape (n_rows, n_raw)
        Some of the examples.
    takes_frames : bool, optional
        Whether the parts were fitted on DataFrames; by default they are asked.
    remainder : object
        What becomes of the columns that no part takes.
    dropped : sequence
        Columns of which nothing is made.

    Raises
    ------
    ValueError
        When a part is none, is not fitted, or takes columns that are not there.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> rows = pd.DataFrame({"size": [0.0, 2.0], "age": [7.0, 9.0]})
    >>> joined = join_parts([(["size"], StandardScaler().fit(rows[["size"]])), ("age", None)], rows)
    >>> joined.transform(rows).tolist()
    [[-1.0, 7.0], [1.0, 9.0]]
    """
    if len(parts) == 0:
        raise ValueError(f"{EXPECTED}, got an empty list; leave it out where there are none.")
    blocks: list[Any] = [("dropped", "drop", list(dropped))]
    for position, part in enumerate(parts):
        columns, transformer, options = read_part(part)
        taken = take_columns(rows, columns)
        if transformer is None and isinstance(columns, str | int):  # a table passes, with two axes
            columns = [columns]
        frozen = _freeze(transformer, columns, taken, options.get("input_df", takes_frames))
        blocks.append((str(position), frozen, columns))
    rest = _freeze(remainder, "the other columns", rows, takes_frames)
    return _fit_nothing(ColumnTransformer(blocks, remainder=rest), rows)


def _fit_nothing(joined: ColumnTransformer, rows: Any) -> ColumnTransformer:
    """Let a ColumnTransformer find its columns; its parts are frozen, so that nothing is fitted.

    Names get a number in front only where two parts make columns of one name.
    """
    joined.set_params(verbose_feature_names_out=False).fit(rows)
    try:
        joined.get_feature_names_out()
    except ValueError:
        joined.set_params(verbose_feature_names_out=True)
    except AttributeError:  # a part has no names to give
        pass
    return joined


def make_dense_output(joined: ColumnTransformer, model: Any, rows: Any) -> None:
    """Let a ColumnTransformer make dense rows where the model behind it takes no sparse ones.

    Parameters
    ----------
    joined : ColumnTransformer
    model : TransformedModel
        Begins with it.
    rows : DataFrame or array of shape (n_rows, n_raw)
    """
    if not joined.sparse_output_:
        return
    try:
        getattr(model, "predict", model)(rows)
    except Exception:  # every library has its own
        joined.set_params(sparse_threshold=0.0).fit(rows)


def read_part(part: Any) -> tuple[Any, Any, Mapping[str, Any]]:
    """Read (columns, transformer), or the same with options of sklearn-pandas' behind it."""
    if isinstance(part, tuple | list) and len(part) in (2, 3):
        columns, transformer, options = (*part, None)[:3]
        if isinstance(options or {}, Mapping):
            return columns, transformer, options or {}
    raise ValueError(
        f"{EXPECTED}, got {shown(part)} in the list; of (name, transformer, columns) make a "
        "ColumnTransformer and fit it."
    )


def take_columns(rows: Any, columns: Any) -> Any:
    """Take columns by sklearn-pandas' rule: one name gives one axis, a list of names two."""
    chosen = columns(rows) if callable(columns) else columns
    try:
        if not isinstance(rows, pd.DataFrame):
            return rows[:, chosen]
        is_by_name = all(isinstance(column, str) for column in np.atleast_1d(chosen))
        return rows[chosen] if is_by_name else rows.iloc[:, chosen]
    except (KeyError, IndexError):
        known = list(getattr(rows, "columns", range(rows.shape[1])))
        raise ValueError(
            f"transformations: expected columns of the initialization examples, got {columns!r}; "
            f"they have {known}."
        ) from None


def _freeze(transformer: Any, columns: Any, rows: Any, takes_frames: bool | None) -> Any:
    """Return a fitted transformer in a form that a ColumnTransformer takes and leaves as it is."""
    if transformer is None or isinstance(transformer, str):
        return transformer or "passthrough"
    transformer = _joined_steps(transformer)
    _check_part(transformer, columns)
    named = _with_names(transformer, rows)
    if _can_be_frozen(named) and _takes(named, rows):
        return FrozenEstimator(named)
    return _asked_as_functions(transformer, columns, rows, takes_frames)


def _asked_as_functions(
    transformer: Any, columns: Any, rows: Any, takes_frames: bool | None
) -> Pipeline:
    """Ask any transformer, and say what is wrong where it does not take the rows.

    Raises
    ------
    ValueError
        Naming the transformer and its columns.
    """
    try:
        return _as_functions(transformer, rows, takes_frames)
    except Exception as error:  # every library has its own
        raise ValueError(_refusal(transformer, columns, rows, error)) from error


def _refusal(transformer: Any, columns: Any, rows: Any, error: Exception) -> str:
    """Say what a transformer does not take, and the other way of writing its columns."""
    hint = ""
    if np.ndim(rows) == 1:
        hint = f"; write [{columns!r}] where it was fitted on a table of one column"
    elif rows.shape[1] == 1:
        hint = "; write the name without brackets where it was fitted on one axis of values"
    return (
        f"transformations: expected {type(transformer).__name__} to take {columns!r}, "
        f"{np.ndim(rows)} axes of the initialization examples, but it says: {error}{hint}."
    )


def _joined_steps(transformer: Any) -> Any:
    """Return transformers that are applied in order as one, and a single one as it is."""
    is_list = isinstance(transformer, list | tuple)
    return make_pipeline(*transformer) if is_list else transformer


def _check_part(transformer: Any, columns: Any) -> None:
    if not is_transformer(transformer):
        raise ValueError(f"{EXPECTED}, got {shown(transformer)} for {columns!r}.")
    unfitted = find_unfitted(transformer)
    if unfitted:
        refuse_unfitted(f"{unfitted} of {columns!r}")


def _can_be_frozen(transformer: Any) -> bool:
    """Tell whether it is one of scikit-learn's for features; those for labels are otherwise."""
    is_for_features = hasattr(transformer, "n_features_in_")
    is_for_features |= hasattr(transformer, "get_feature_names_out")
    return is_for_features & (sklearn_name(transformer) != "")


def _with_names(transformer: Any, rows: Any) -> Any:
    """Let an estimator that was fitted on an array be asked with a DataFrame; None if it cannot."""
    if hasattr(transformer, "feature_names_in_") or not isinstance(rows, pd.DataFrame):
        return transformer
    name_columns = _NAMED.get(sklearn_name(transformer), _name_columns)
    return name_columns(transformer, rows)


def _name_columns(transformer: Any, rows: pd.DataFrame) -> Any:
    named = copy(transformer)
    named.feature_names_in_ = np.array(rows.columns, dtype=object)
    return named


def _name_first_step(pipeline: Any, rows: pd.DataFrame) -> Any:
    (name, first), *others = pipeline.steps
    named = copy(pipeline)
    named.steps = [(name, _with_names(first, rows)), *others]
    return None if named.steps[0][1] is None else named


_NAMED: dict[str, Callable[[Any, pd.DataFrame], Any]] = {
    "ColumnTransformer": _no_transformer,
    "FeatureUnion": _no_transformer,
    "Pipeline": _name_first_step,
    "": _no_transformer,
}


def _as_functions(transformer: Any, rows: Any, takes_frames: bool | None) -> Pipeline:
    """Ask any transformer with what it was fitted on, and give two axes to its answer."""
    if takes_frames is None:
        takes_frames = hasattr(transformer, "feature_names_in_") or _takes(transformer, rows)
    steps = [FunctionTransformer(transformer.transform)]
    if not takes_frames:
        steps = [FunctionTransformer(np.asarray), *steps]
    asked = make_pipeline(*steps)
    if np.ndim(asked.transform(rows.copy())) == 1:
        asked.steps.append(("column", FunctionTransformer(np.reshape, kw_args={"shape": (-1, 1)})))
    return asked


def _takes(transformer: Any, rows: Any) -> bool:
    """Tell whether a transformer that does not say what it was fitted on takes a DataFrame."""
    try:
        transformer.transform(rows.copy())
    except Exception:  # every library has its own
        return False
    return True
