"""What was to be predicted, and what the model predicted: true values, probabilities, outcomes.

Classes are positions along the first axis of the importances; scikit-learn's labels of them are
looked up once. Next: :mod:`service.dashboard.columns`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.dashboard.errors import UnavailableError
from service.dashboard.store import Store
from service.dashboard.values import Values
from service.errors import ManifestError
from service.explanations.context import unless_none
from service.explanations.files.packed_columns import unpack_rows

BINARY_OUTCOMES = ["TN", "FP", "FN", "TP"]  # at 2 · is truly positive + is predicted positive
OUTCOMES = ["wrong", "correct"]
MISSING_TEXTS = ("nan", "None", "<NA>", "NaT")
NO_LABELS = (
    "The explanation knows no true values; give true_y, or save it with true_labels in its context."
)
NO_PREDICTIONS = "The explanation was saved without predictions; save it with include_data=True."
NO_PROBABILITIES = "The explanation knows no probabilities of classes."


class Outcomes:
    """True values and predictions of all rows.

    Parameters
    ----------
    store : Store
    positive : object, optional
        The positive class of a binary task, by its name; the last one by default.

    Attributes
    ----------
    task : {"binary", "multiclass", "regression"}
    classes : list or None
        The names of the classes.
    positive : int or None
        The position of the positive class.

    Raises
    ------
    ManifestError
        When a label is of no class.
    """

    def __init__(self, store: Store, positive: Any = None) -> None:
        self._store = store
        self.classes = _classes_of(store)
        self.task = "regression"
        if self.classes is not None:
            self.task = "binary" if len(self.classes) == 2 else "multiclass"
        self.positive = None
        if self.task == "binary":
            self.positive = 1 if positive is None else self.position_of(positive)

    @property
    def class_names(self) -> list[str]:
        """The classes as texts, none of a regression."""
        return list(map(str, self.classes or ()))

    @property
    def first_output(self) -> int:
        """The output that is shown first: the positive class, else the first."""
        return self.positive or 0

    @property
    def outputs(self) -> list[str]:
        """The names of what importances are of."""
        n_targets = self._store.n_outputs
        targets = [f"target {output}" for output in range(n_targets)]
        return self.class_names or (["prediction"] if n_targets == 1 else targets)

    def position_of(self, name: Any) -> int:
        """Return the position of a class.

        Raises
        ------
        ValueError
            When there is none of that name.
        """
        names = [*self.class_names, *map(str, self._store.heading.get("class_labels") or ())]
        if str(name) not in names:
            raise ValueError(f"class {name!r}: expected one of {self.classes}.")
        return names.index(str(name)) % len(self.class_names)

    @cached_property
    def _true(self) -> Any:
        return _load_table(self._store, "true_labels")

    @cached_property
    def _predicted(self) -> Any:
        return _load_table(self._store, "eval_y_predicted")

    @property
    def has_labels(self) -> bool:
        """Whether true values are known."""
        return self._true is not None

    @property
    def has_predictions(self) -> bool:
        """Whether predictions are known."""
        return self._predicted is not None

    @cached_property
    def probabilities(self) -> NDArray[np.float64] | None:
        """The probabilities of classes, shape (n_rows, n_classes), or None."""
        _, arrays = self._store.table("eval_y_predicted_proba") or ({}, {})
        matrix: NDArray[Any] = arrays.get("values", np.empty(0))
        shape = (self._store.n_rows, len(self.class_names))
        return matrix if matrix.shape == shape else None

    def probability(self, position: int) -> NDArray[np.float64]:
        """Return the probability of a class for all rows.

        Raises
        ------
        UnavailableError
            When it is not known.
        """
        if self.probabilities is None:
            raise UnavailableError(NO_PROBABILITIES)
        return self.probabilities[:, position]

    @cached_property
    def _labels(self) -> list[Any]:
        """What true values and predictions call each class."""
        assert self.classes is not None
        recorded = self._store.heading.get("class_labels")
        if recorded is not None and len(recorded) == len(self.classes):
            return list(recorded)
        came = _different(self._true) | _different(self._predicted)
        if came <= set(map(_text, self.classes)):
            return list(self.classes)
        if came <= set(map(str, range(len(self.classes)))):
            return list(range(len(self.classes)))
        if len(came) == len(self.classes):  # in the order of predict_proba, which sorts them
            return _in_order(came)
        raise ManifestError(
            f"{self._store.folder}: expected labels among the classes {self.classes}, got "
            f"{sorted(came)[:5]}; name the classes of the explainer by them."
        )

    def codes(self, name: str) -> NDArray[np.int32]:
        """Return the classes of all rows by their position, −1 where one is missing.

        Parameters
        ----------
        name : {"true", "predicted"}

        Raises
        ------
        UnavailableError
            When they are not known.
        ManifestError
            When a label is of no class.
        """
        return self._true_codes if name == "true" else self._predicted_codes

    def check(self) -> None:
        """Look at all labels.

        Raises
        ------
        ManifestError
            When one is of no class.
        """
        for labels in (self._true, self._predicted):
            if self.classes is not None:
                unless_none(self.code_labels, labels)

    @cached_property
    def _true_codes(self) -> NDArray[np.int32]:
        if self._true is None:
            raise UnavailableError(NO_LABELS)
        return self.code_labels(self._true)

    @cached_property
    def _predicted_codes(self) -> NDArray[np.int32]:
        if self._predicted is None:
            raise UnavailableError(NO_PREDICTIONS)
        return self.code_labels(self._predicted)

    def code_labels(self, labels: Any) -> NDArray[np.int32]:
        """Return classes by their position, −1 where one is missing.

        Raises
        ------
        ManifestError
            When a label is of no class.
        """
        of_row, known = pd.factorize(_flat(labels))
        names = [*self.class_names, *self._labels]  # labels win where both are used
        if not any(_text(name).isdigit() for name in names):
            names = [*range(len(self._labels)), *names]  # positions are no other class's label
        places = {_text(name): i % len(self._labels) for i, name in enumerate(names)}
        places |= dict.fromkeys(MISSING_TEXTS, -1)
        texts = list(map(_text, known))
        unknown = sorted(set(texts) - places.keys())
        if unknown:
            raise ManifestError(
                f"{self._store.folder}: expected labels {self._labels}, got {unknown[0]!r}; name "
                "the explainer's classes by them."
            )
        codes = np.array([*map(places.__getitem__, texts), -1], dtype=np.int32)
        return codes[of_row]  # −1 is what is missing, and the last

    def name_labels(self, labels: NDArray[Any]) -> list[str | None]:
        """Return the names of the classes that a model predicts."""
        codes = self.code_labels(labels)
        names = [*self.class_names, None]
        return list(map(names.__getitem__, codes.tolist()))

    def numbers(self, name: str, output: int = 0) -> NDArray[np.float64]:
        """Return the true values or predictions of a regression, shape (n_rows,).

        Parameters
        ----------
        name : {"true", "predicted"}
        output : int, default 0
            Which target.

        Raises
        ------
        UnavailableError
            When they are not known.
        """
        table, why = self._true, NO_LABELS
        if name == "predicted":
            table, why = self._predicted, NO_PREDICTIONS
        if table is None:
            raise UnavailableError(why)
        matrix = np.asarray(table, dtype=np.float64).reshape(self._store.n_rows, -1)
        return matrix[:, min(output, matrix.shape[1] - 1)]

    def values(self, name: str, output: int = 0) -> Values:
        """Return the column that an id names, without its output.

        Parameters
        ----------
        name : {"true", "predicted", "outcome", "error", "abs_error"}
        output : int, default 0

        Raises
        ------
        UnavailableError
            When it is not known.
        """
        if name in ("true", "predicted"):
            if self.classes is None:
                return Values("number", self.numbers(name, output))
            return Values("category", self.codes(name), self.class_names)
        if name == "outcome":
            return self._outcome
        error = self.numbers("predicted", output) - self.numbers("true", output)
        return Values("number", np.abs(error) if name == "abs_error" else error)

    @cached_property
    def _outcome(self) -> Values:
        true, predicted = self.codes("true"), self.codes("predicted")
        known = (true >= 0) & (predicted >= 0)
        if self.task == "binary":
            codes = 2 * (true == self.positive) + (predicted == self.positive)
            return Values("category", np.where(known, codes, -1).astype(np.int8), BINARY_OUTCOMES)
        codes = np.where(known, true == predicted, -1).astype(np.int8)
        return Values("category", codes, OUTCOMES)


def _classes_of(store: Store) -> list[Any] | None:
    classes = store.heading["classes"]
    if classes is not None:
        return list(classes)
    if store.heading["task"] != "classification":
        return None
    labels = store.heading.get("class_labels")
    n_outputs = store.n_outputs
    return list(labels) if labels else list(map(str, range(max(2, n_outputs))))


def _load_table(store: Store, name: str) -> Any:
    """Return a table as it came, None where there is none."""
    found = store.table(name)
    if found is None:
        return None
    spec, arrays = found
    return unpack_rows(dict(spec), {key: arrays[key] for key in arrays})


def _flat(labels: Any) -> NDArray[Any]:
    array = np.asarray(labels, dtype=object) if isinstance(labels, list) else np.asarray(labels)
    return array.reshape(len(array), -1)[:, 0]


def _text(label: Any) -> str:
    """Write a label so that 1, 1.0 and "1" are the same."""
    return str(label).removesuffix(".0")


def _different(labels: Any) -> set[str]:
    if labels is None:
        return set()
    return set(map(_text, pd.unique(_flat(labels)))) - {*MISSING_TEXTS}


def _in_order(labels: set[str]) -> list[str]:
    """Sort labels as numbers where they are numbers, else as texts."""
    try:
        return sorted(labels, key=float)
    except ValueError:
        return sorted(labels)
