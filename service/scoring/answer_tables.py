"""An answer as columns, one value for each row: what files and lines are written from.

Next: :mod:`service.scoring.names`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import PayloadError, expect
from service.scoring.answer import Answer, plain

Pairs = Iterator[tuple[str, Sequence[Any]]]  # of a column's name and its values


def flat_columns(answer: Answer) -> dict[str, Sequence[Any]]:
    """Return an answer as columns of plain values, for CSV and Parquet.

    Parameters
    ----------
    answer : Answer

    Returns
    -------
    dict of str to sequence
        ``prediction``, of several targets ``prediction:<target>``; ``importance:<feature>``, of a
        classifier ``importance:<class>:<feature>``; then what was asked for: ``probability:``,
        ``standard_error:`` and ``expected_value`` with such names, ``id:<column>`` or
        ``row_id``, ``predicted_class``, and what the importances are. The values of
        ``top_importances`` are lists.
    """
    return _columns(answer, _FLAT)


def nested_columns(answer: Answer) -> dict[str, Sequence[Any]]:
    """Return an answer as columns of nested lists, for JSON Lines.

    Parameters
    ----------
    answer : Answer

    Returns
    -------
    dict of str to sequence
        ``prediction``; ``local_importance_values`` of each row, [class][feature] or [feature], and
        ``standard_errors`` alike; the others by their names.
    """
    return _columns(answer, _NESTED)


def _columns(
    answer: Answer, kinds: Mapping[str, Callable[[Answer], Pairs]]
) -> dict[str, Sequence[Any]]:
    columns: dict[str, Sequence[Any]] = {}
    for name, columns_of in kinds.items():
        if name in answer:
            for column, values in columns_of(answer):
                expect(
                    column not in columns,
                    f"Expected names of classes and features that tell columns apart, but "
                    f"{column!r} would come twice; ask for JSON, or rename them.",
                )
                columns[column] = values
    return columns


def _predictions(answer: Answer) -> Pairs:
    predictions = answer.predictions
    if predictions.ndim == 1:
        yield "prediction", predictions.tolist()
        return
    for target, values in enumerate(predictions.T):
        yield f"prediction:{target}", values.tolist()


def _importances(answer: Answer) -> Pairs:
    assert answer.importances is not None
    return _by_feature("importance", answer, answer.importances.values)


def _standard_errors(answer: Answer) -> Pairs:
    """Make a column for each importance; it is empty where the importances are exact."""
    assert answer.importances is not None
    errors: Any = answer.importances.standard_errors
    if errors is None:
        errors = np.full(answer.importances.values.shape, None, dtype=object)
    return _by_feature("standard_error", answer, errors)


def _by_feature(prefix: str, answer: Answer, values: NDArray[Any]) -> Pairs:
    assert answer.importances is not None
    features = answer.importances.features
    if values.ndim == 2:
        yield from _feature_columns(prefix, features, values)
        return
    for name, of_class in zip(_class_names(answer, len(values)), values, strict=True):
        yield from _feature_columns(f"{prefix}:{name}", features, of_class)


def _feature_columns(prefix: str, features: Sequence[str], values: NDArray[Any]) -> Pairs:
    for feature, of_feature in zip(features, values.T, strict=True):
        yield f"{prefix}:{feature}", of_feature.tolist()


def _class_names(answer: Answer, n_classes: int) -> Sequence[Any]:
    classes = getattr(answer.importances, "classes", None)
    return range(n_classes) if classes is None else classes


def _probabilities(answer: Answer) -> Pairs:
    by_class = list(zip(*_rows_of_probabilities(answer), strict=True))
    for name, values in zip(_class_names(answer, len(by_class)), by_class, strict=True):
        yield f"probability:{name}", values


def _rows_of_probabilities(answer: Answer) -> Sequence[Any]:
    if answer.predictions.ndim > 1:
        raise PayloadError(
            "Option 'probabilities': expected of one target, to stand in its row, got several; ask "
            "for application/json."
        )
    rows: Sequence[Any] = answer["probabilities"]
    return rows


def _expected_values(answer: Answer) -> Pairs:
    expected, n_rows = np.ravel(answer["expected_values"]).tolist(), len(answer.predictions)
    if len(expected) == 1:
        yield "expected_value", expected * n_rows
        return
    for name, value in zip(_class_names(answer, len(expected)), expected, strict=True):
        yield f"expected_value:{name}", [value] * n_rows


def _largest(answer: Answer) -> Pairs:
    """Give each row its names, which of several targets are [target][row]."""
    assert answer.importances is not None
    named: Sequence[Any] = answer["top_importances"]
    is_of_one = answer.importances.classes is not None and answer.predictions.ndim == 1
    if answer.importances.values.ndim == 3 and not is_of_one:
        named = list(zip(*named, strict=True))
    yield "top_importances", named


def _row_ids(answer: Answer) -> Pairs:
    """Make a column for each column with ids; labels have one for themselves."""
    ids: Sequence[Any] = answer["row_ids"]
    if not isinstance(ids[0], Mapping):
        yield "row_id", ids
        return
    for name in ids[0]:
        yield f"id:{name}", list(map(itemgetter(name), ids))


def _predicted_classes(answer: Answer) -> Pairs:
    yield "predicted_class", answer["predicted_classes"]


def _for_each_row(name: str) -> Callable[[Answer], Pairs]:
    def repeated(answer: Answer) -> Pairs:
        yield name, [answer[name]] * len(answer.predictions)

    return repeated


def _plain_row_ids(answer: Answer) -> Pairs:
    yield "row_id", answer["row_ids"]


def _nested(name: str) -> Callable[[Answer], Pairs]:
    def by_row(answer: Answer) -> Pairs:
        values = np.array(answer[name], dtype=object)
        if values.ndim == 3:
            values = values.transpose(1, 0, 2)
        # Of exact importances there is one None for all rows.
        yield name, plain(values) or [None] * len(answer.predictions)

    return by_row


def _plain_predictions(answer: Answer) -> Pairs:
    yield "prediction", plain(answer.predictions)


def _plain_probabilities(answer: Answer) -> Pairs:
    yield "probabilities", _rows_of_probabilities(answer)


def _plain_expected_values(answer: Answer) -> Pairs:
    yield "expected_values", [plain(answer["expected_values"])] * len(answer.predictions)


# What the names of columns do not say.
_WORDS: Mapping[str, Callable[[Answer], Pairs]] = {
    "output": _for_each_row("output"),
    "method": _for_each_row("method"),
    "exactness": _for_each_row("exactness"),
}
_FLAT: Mapping[str, Callable[[Answer], Pairs]] = {
    "predictions": _predictions,
    "local_importance_values": _importances,
    "probabilities": _probabilities,
    "standard_errors": _standard_errors,
    "expected_values": _expected_values,
    "top_importances": _largest,
    "row_ids": _row_ids,
    "predicted_classes": _predicted_classes,
    **_WORDS,
}
_NESTED: Mapping[str, Callable[[Answer], Pairs]] = {
    "predictions": _plain_predictions,
    "local_importance_values": _nested("local_importance_values"),
    "probabilities": _plain_probabilities,
    "standard_errors": _nested("standard_errors"),
    "expected_values": _plain_expected_values,
    "top_importances": _largest,
    "row_ids": _plain_row_ids,
    "classes": _for_each_row("classes"),
    "predicted_classes": _predicted_classes,
    "features": _for_each_row("features"),
    **_WORDS,
}
