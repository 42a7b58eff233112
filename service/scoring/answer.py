"""What is answered for the rows of one request: arrays inside, a JSON object to those who read it.

The scoring model makes an answer once; each protocol of the web service, and the scoring of files,
writes it in its own form. Next: :mod:`service.scoring.answer_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances

NAMES = (
    "predictions",
    "local_importance_values",
    "probabilities",
    "standard_errors",
    "expected_values",
    "top_importances",
)


@dataclass(frozen=True, eq=False)
class Answer(MutableMapping[str, Any]):
    """Predictions of some rows, with what else was asked for.

    As a mapping it is the JSON object that clients get: names to nested lists, made when they are
    read. An entry script may return it as it is, change it like a dictionary, or take a copy with
    more values by :meth:`with_values`. A list that was read is the one that is written, so changing
    it changes the answer. ``json.dumps`` wants :meth:`to_dict`.

    Attributes
    ----------
    arrays : dict of str to ndarray
        What is answered, in the order in which clients see it. ``predictions``, of shape (n_rows,)
        or (n_rows, n_targets), is always there; ``local_importance_values`` unless they were
        declined; the others when they were asked for: ``probabilities`` of shape
        (n_rows, n_classes), ``standard_errors`` (None from exact methods), ``expected_values`` of
        shape (n_classes,) or (), ``top_importances``, which are lists of names and numbers,
        ``new_categories``, ``row_ids``, and the names and words of :mod:`service.scoring.names`.
    rows : ndarray of shape (n_rows, n_features)
        The rows that were scored, as the schema's matrix.
    new_categories : list of list of str
        For each row the columns with a category that the examples did not have; empty where no row
        has one.
    importances : LocalImportances or None
        The local importances with their names, None when they were declined.
    seconds_explaining : float
        How long the importances took.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> from service.scoring import KernelScoringExplainer, ScoringModel
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    >>> model = LinearRegression().fit(X, 2 * X[:, 0])
    >>> scoring_model = ScoringModel(model, KernelScoringExplainer(TabularExplainer(model, X)))
    >>> answer = scoring_model.score("[[3, 1], [0, 1]]")
    >>> list(answer)
    ['predictions', 'local_importance_values']
    >>> answer.predictions.round(6).tolist()
    [6.0, 0.0]
    >>> answer["predictions"] == answer.predictions.tolist()
    True
    >>> sorted(answer.with_values(model="of May").to_dict())
    ['local_importance_values', 'model', 'predictions']
    """

    arrays: dict[str, Any]
    rows: NDArray[Any]
    new_categories: list[list[str]] = field(default_factory=list)
    importances: LocalImportances | None = None
    seconds_explaining: float = 0.0

    @property
    def predictions(self) -> NDArray[Any]:
        """What the model predicts for each row."""
        return array_of(self.arrays["predictions"])

    def __getitem__(self, name: str) -> Any:
        self.arrays[name] = plain(self.arrays[name])
        return self.arrays[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.arrays[name] = value

    def __delitem__(self, name: str) -> None:
        del self.arrays[name]

    def __or__(self, values: Mapping[str, Any]) -> Answer:
        return self.with_values(**values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object as a dictionary of nested lists."""
        return dict(self)

    def with_values(self, **values: Any) -> Answer:
        """Return the answer with more values, or others, under the names given.

        Parameters
        ----------
        **values
            Arrays, or anything else that JSON can express.
        """
        return replace(self, arrays={**self.arrays, **values})


def in_order(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Put what is answered into the order in which clients see it."""
    return {name: arrays[name] for name in filter(arrays.__contains__, NAMES)}


def plain(value: Any) -> Any:
    """Turn an array, a Series or a number of NumPy's into lists and numbers; leave the rest."""
    return value.tolist() if hasattr(value, "tolist") else value


def array_of(answer: Any) -> NDArray[Any]:
    """Return what a model answers as an array whose values are those that it answered.

    Unsigned integers become int64 where that holds them, the type that readers of JSON have; lists
    and the like become arrays of objects, in which 1, 1.0 and True stay what they are.
    """
    if not isinstance(answer, np.ndarray):
        return np.array([plain(value) for value in plain(answer)], dtype=object)
    fits = answer.dtype.kind == "u" and answer.max(initial=0) <= np.iinfo(np.int64).max
    return answer.astype(np.int64) if fits else answer
