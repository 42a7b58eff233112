"""Explanations as tables of pandas and as objects of shap.

Next: :mod:`service.explanations.drawing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.explanations.context import ExplanationContext
from service.explanations.global_importances import GlobalImportances, with_output_axis
from service.rows.tables import row_as_table


def find_output(importances: LocalImportances, class_: Any) -> int:
    """Return which class or target is meant, by name or by position.

    Parameters
    ----------
    importances : LocalImportances
    class_ : object
        A class's name, else a position.

    Raises
    ------
    ValueError
        When there is no such class, naming those that there are.
    """
    names = names_of_outputs(importances)
    if class_ in names:
        return names.index(class_)
    is_position = isinstance(class_, int | np.integer) and not isinstance(class_, bool)
    if is_position and 0 <= class_ < len(names):
        return int(class_)
    raise ValueError(f"class_: expected one of {names}, or its position, got {class_!r}.")


def names_of_outputs(importances: LocalImportances | GlobalImportances) -> list[Any]:
    """Return the names of classes; targets are 0, 1, …."""
    expected: Any = importances.expected_values
    return importances.classes or list(range(np.size(expected)))


def local_frame(
    importances: LocalImportances, labels: pd.Index[Any], class_: Any = None
) -> pd.DataFrame:
    """Return local importances as a table, a row for each row.

    Parameters
    ----------
    importances : LocalImportances
    labels : Index of length n_rows
    class_ : object, optional
        The class or target; all of them by default, side by side.

    Returns
    -------
    DataFrame of shape (n_rows, n_features), or (n_rows, n_classes · n_features)
    """
    values = importances.values
    if class_ is not None:
        values = with_output_axis(values)[find_output(importances, class_)]
    if values.ndim == 2:
        return pd.DataFrame(values, index=labels, columns=importances.features)
    names = [names_of_outputs(importances), importances.features]
    columns = pd.MultiIndex.from_product(names, names=["class", "feature"])
    flat = values.transpose(1, 0, 2).reshape(len(labels), -1)
    return pd.DataFrame(flat, index=labels, columns=columns)


def global_frame(overall: GlobalImportances) -> pd.DataFrame:
    """Return global importances as a table, a row for each feature, the largest first.

    Parameters
    ----------
    overall : GlobalImportances

    Returns
    -------
    DataFrame
        With the columns ``importance`` and, where they are known, ``standard_error``,
        ``noise_floor``, ``below_noise`` and ``importance of …`` for each class or target.
    """
    columns: dict[str, Any] = {"importance": overall.values}
    if overall.standard_errors is not None:
        columns["standard_error"] = overall.standard_errors
    if overall.noise_floor is not None:
        columns["noise_floor"] = overall.noise_floor
        columns["below_noise"] = overall.values <= overall.noise_floor
    columns |= _per_class_columns(overall)
    table = pd.DataFrame(columns, index=pd.Index(overall.features, name="feature"))
    return table.iloc[np.argsort(-overall.values, kind="stable")]


def _per_class_columns(overall: GlobalImportances) -> dict[str, NDArray[np.float64]]:
    names = names_of_outputs(overall)
    if overall.per_class is None or len(names) == 1:
        return {}
    return {f"importance of {name}": overall.per_class[i] for i, name in enumerate(names)}


def to_shap(importances: LocalImportances, context: ExplanationContext, class_: Any = None) -> Any:
    """Return local importances as shap has them, for its plots.

    Parameters
    ----------
    importances : LocalImportances
    context : ExplanationContext
        Has the rows' own values, where they were kept.
    class_ : object, optional
        The class or target; all of them by default.

    Returns
    -------
    shap.Explanation
        Its values have the shape (n_rows, n_features), or (n_rows, n_features, n_classes).
    """
    import shap

    values, expected = importances.values, np.asarray(importances.expected_values)
    names: Sequence[Any] | None = None
    if class_ is not None:
        output = find_output(importances, class_)
        values, expected = with_output_axis(values)[output], np.atleast_1d(expected)[output]
    if values.ndim == 3:
        values, names = np.moveaxis(values, 0, -1), list(map(str, names_of_outputs(importances)))
    return shap.Explanation(
        values=np.ascontiguousarray(values),
        base_values=np.broadcast_to(expected, (len(importances), *expected.shape)).copy(),
        data=_cells(row_as_table(context.eval_data), importances.features),
        feature_names=importances.features,
        output_names=names,
    )


def _cells(rows: Any, features: Sequence[str]) -> NDArray[Any] | None:
    """Return the cells of the explained features, None where they cannot be told."""
    if rows is None:
        return None
    if isinstance(rows, pd.DataFrame):
        named = rows.rename(columns=str)
        is_known = set(features) <= set(named.columns)
        return named[list(features)].to_numpy() if is_known else _fitting(rows, features)
    return _fitting(rows.toarray() if hasattr(rows, "toarray") else rows, features)


def _fitting(rows: Any, features: Sequence[str]) -> NDArray[Any] | None:
    """Return rows by position, where there is a column for each feature."""
    cells = np.asarray(rows)
    return cells if cells.ndim == 2 and cells.shape[1] == len(features) else None
