"""Transformations that stand apart from their model, and the model behind them.

Nothing is fitted here: what was fitted is put together, so that the model takes raw rows and is
explained on them (:class:`service.structures.encoders.TransformedModel`). Next:
:mod:`service.explainers.listed_transformations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import FunctionTransformer

from service.engines.row_explainer import RowExplainer, asked_with_rows
from service.engines.sparse.examples import cut_sparse
from service.engines.transformed.engineered import EngineeredExplainer
from service.explainers.listed_transformations import (
    EXPECTED,
    find_unfitted,
    is_transformer,
    join_parts,
    make_dense_output,
    read_mapper,
    refuse_unfitted,
    shown,
)
from service.rows.schema import Schema
from service.rows.tables import examples_as_table, is_sparse
from service.structures.encoders import TransformedModel, blocks_of, split_model

N_TRIED_ROWS = 20


def compose(
    transformations: Any, model: Any, examples: Any, names: Sequence[str] | None
) -> TransformedModel:
    """Put a model behind transformations, so that it takes raw rows.

    Parameters
    ----------
    transformations : object
        A fitted transformer, a list of (columns, transformer), or a DataFrameMapper.
    model : object
        Takes what they make of rows.
    examples : DataFrame or array of shape (n_examples, n_raw)
    names : sequence of str or None
        Names of the columns of an array.

    Raises
    ------
    TypeError, ValueError
        When the transformations are none, a part of them is not fitted, they do not take the
        examples, or the model does not take what they make.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> rows = pd.DataFrame({"town": ["Bern", "Chur"]})
    >>> encoder = OneHotEncoder().fit(rows)
    >>> model = Ridge().fit(encoder.transform(rows), [1.0, 2.0])
    >>> compose(encoder, model, rows, None).predict(rows).round(3).tolist()
    [1.25, 1.75]
    """
    of_list = names if isinstance(transformations, list | tuple) else None
    rows = _take_some(examples, getattr(transformations, "feature_names_in_", of_list))
    transformer = read_transformations(transformations, rows.copy())
    model = asked_with_rows(model)
    made = _transform(transformer, rows)
    _check_widths(model, made, rows)
    steps = [("transformations", transformer)]
    known = _names_known_to(model)
    if known is not None and isinstance(made, np.ndarray):
        steps.append(("names", _make_names(known)))
    composed = TransformedModel((*steps, ("model", model)))
    if isinstance(transformations, list | tuple):  # nothing says whether it was trained on sparse
        make_dense_output(transformer, composed, rows)
    return composed


def _take_some(examples: Any, names: Sequence[str] | None) -> Any:
    """Return some examples, enough to see what transformers make of them."""
    # Sparse ones are not made dense for the sake of some.
    some = examples.tocsr()[:N_TRIED_ROWS] if is_sparse(examples) else examples
    table = examples_as_table(some)
    if isinstance(table, pd.DataFrame):
        return table.iloc[:N_TRIED_ROWS].copy()  # transformers may write into them
    rows = np.asarray(table)[:N_TRIED_ROWS].copy()
    if names is None or len(names) != rows.shape[-1]:
        return rows
    return pd.DataFrame(rows, columns=list(names))


def read_transformations(transformations: Any, rows: Any) -> Any:
    """Return one fitted transformer of raw rows.

    Parameters
    ----------
    transformations : object
    rows : DataFrame or array of shape (n_rows, n_raw)
        Some of the examples.

    Raises
    ------
    TypeError
        When it is nothing that transforms.
    ValueError
        When a part is not fitted, or a list has something else in it than pairs.
    """
    if isinstance(transformations, list | tuple):
        return join_parts(transformations, rows)
    if isinstance(getattr(transformations, "features", None), list | tuple):
        return read_mapper(transformations, rows)
    if not is_transformer(transformations):
        raise TypeError(f"{EXPECTED}, got {shown(transformations)}.")
    unfitted = find_unfitted(transformations)
    if unfitted:
        refuse_unfitted(unfitted)
    return transformations


def _transform(transformer: Any, rows: Any) -> Any:
    """Return what a transformer makes of some of the examples.

    Raises
    ------
    ValueError
        When it does not take them.
    """
    try:
        return transformer.transform(rows.copy())  # it may write into them
    except NotFittedError as error:
        refuse_unfitted(str(error).removeprefix("This ").partition(" instance")[0])
    except Exception as error:  # every library has its own
        raise ValueError(
            "transformations: expected them to take the initialization examples, raw rows of "
            f"{rows.shape[1]} columns, but {type(transformer).__name__} says: {error}"
        ) from error


def _check_widths(model: Any, made: Any, rows: Any) -> None:
    """Refuse a model that takes another number of columns than the transformations make.

    Raises
    ------
    ValueError
        Saying both numbers, and what to do.
    """
    n_made, n_raw = np.shape(made)[-1], rows.shape[1]
    n_taken = getattr(model, "n_features_in_", n_made)
    if n_taken == n_made:
        return
    cure = "give the transformations that it was trained behind"
    if n_taken == n_raw:
        cure = (
            "it takes raw rows itself, so leave the transformations out, or give the model that "
            "comes after them"
        )
    raise ValueError(
        f"transformations: expected them to make the {n_taken} columns that "
        f"{type(model).__name__} was fitted on, but of {n_raw} raw columns they make {n_made}; "
        f"{cure}."
    )


def _names_known_to(model: Any) -> list[str] | None:
    """Return the names of the columns on which a model was fitted; None where it has none."""
    of_booster = getattr(getattr(model, "booster", None), "feature_names", None)
    names = getattr(model, "feature_names_in_", of_booster)
    return None if names is None else list(names)


def _make_names(names: list[str]) -> FunctionTransformer:
    """Return a step that makes a DataFrame of an array, and changes no number."""
    step = FunctionTransformer(feature_names_out="one-to-one").set_output(transform="pandas")
    return step.fit(pd.DataFrame([[0.0] * len(names)], columns=names))


def name_columns(model: TransformedModel, n_made: int) -> list[str]:
    """Name the columns that transformations make.

    Parameters
    ----------
    model : TransformedModel
    n_made : int

    Returns
    -------
    list of str
        The names that the model knows, else those of ``get_feature_names_out``; a part without it
        counts the columns it makes.
    """
    names = _names_known_to(model.model)
    if names is None:
        names = _names_out(model.steps[0][1], n_made)
    return list(map(str, names))


def _names_out(transformer: Any, n_made: int, taken: Any = ()) -> list[str]:
    try:
        return list(transformer.get_feature_names_out())
    except Exception:  # a step has no names, and every library says so in its own way
        pass
    if not hasattr(transformer, "output_indices_"):
        of = "_".join(map(str, taken)) or "engineered"
        return [f"{of}_{i}" for i in range(n_made)]
    names: list[str] = []
    known = getattr(transformer, "feature_names_in_", np.arange(transformer.n_features_in_))
    for block, step, columns in blocks_of(transformer):
        width = transformer.output_indices_[block]
        names += _names_out(step, width.stop - width.start, known[columns])
    if len(set(names)) < len(names):
        names = list(map("{}__{}".format, range(len(names)), names))
    return names


def build_engineered(
    model: TransformedModel, examples: Any, row_explainer: RowExplainer
) -> EngineeredExplainer:
    """Build what explains raw rows by the columns that transformations make of them.

    Parameters
    ----------
    model : TransformedModel
    examples : DataFrame or array of shape (n_examples, n_raw)
    row_explainer : RowExplainer
        Explains the same output by raw columns. Where it reports a part of them, only the
        engineered ones that are made of these are reported.

    Raises
    ------
    ValueError
        When it is not known which columns are made of that part, or none are.
    """
    schema, function = row_explainer.schema, row_explainer.function
    few, _ = cut_sparse(examples, row_explainer.options.random_state)
    table = examples_as_table(few)
    maps, subset = _cut_maps(map_columns(model, schema), row_explainer.subset)
    made = model.transform_rows(schema.model_rows(schema.from_positions(table)))
    explainer = RowExplainer.build(
        model.model,
        made,
        features=name_columns(model, np.shape(made)[-1]),
        classes=row_explainer.classes,
        subset=subset,
        output=function.scale,
        task=function.task,
        options=row_explainer.options,
    )
    transformers = tuple(step for _, step in model.steps[:-1])
    return EngineeredExplainer(schema, transformers, explainer, maps)


def _cut_maps(
    maps: list[NDArray[np.float64]] | None, raw: Sequence[int] | None
) -> tuple[list[NDArray[np.float64]] | None, list[int] | None]:
    """Return the map of some raw columns, and which engineered columns are made of them.

    Raises
    ------
    ValueError
        When that is not known, or there are none.
    """
    if raw is None:
        return maps, None
    if maps is None:
        raise ValueError(
            "engineered: expected transformations that make each column of one raw column, since "
            "explain_subset names raw columns, but they mix several; leave explain_subset out."
        )
    made_of = maps[0][list(raw)]
    made = [int(i) for i in np.nonzero(made_of)[1]]
    if not made:
        raise ValueError(
            "engineered: expected columns that are made of those of explain_subset, but the "
            "transformations drop these; leave explain_subset out."
        )
    return [made_of[:, made]], made


def map_columns(model: TransformedModel, schema: Schema) -> list[NDArray[np.float64]] | None:
    """Return which raw column each engineered column is made of, as a matrix of ones and zeros.

    Returns
    -------
    list of one ndarray of shape (n_raw, n_engineered), or None
        None when a step mixes columns, or is not known.
    """
    names = list(map(str, schema.model_names))
    end = object()
    alone = TransformedModel((*model.steps[:-1], ("model", end)))
    split = split_model(alone, len(names), names)
    if split is None or split[1] is not end:  # what mixes columns goes to the model's side
        return None
    owner = split[0].owner
    made_of = np.zeros((len(names), len(owner)))
    made_of[owner, np.arange(len(owner))] = 1.0
    return [made_of]
