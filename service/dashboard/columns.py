"""The columns that a question can name: features, importances, outcomes, rows.

Next: :mod:`service.dashboard.questions`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from service.dashboard.errors import QuestionError, UnavailableError
from service.dashboard.outcomes import Outcomes
from service.dashboard.store import Store
from service.dashboard.values import MOST_CATEGORIES, Values
from service.rows.values import shown

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Column:
    """A column by its id.

    Attributes
    ----------
    id, name : str
    group : {"feature", "importance", "outcome", "row"}
    read : callable
        Returns its :class:`~service.dashboard.values.Values`.
    """

    id: str
    name: str
    group: str
    read: Callable[[], Values]

    @cached_property
    def values(self) -> Values:
        """Its values for all rows."""
        return self.read()

    def heading(self) -> dict[str, Any]:
        """Tell what it is."""
        return {"id": self.id, "name": self.name, "kind": self.values.kind, "group": self.group}

    def describe(self) -> dict[str, Any]:
        """Tell its range and quantiles, or its categories."""
        values = self.values
        numbers = _describe_numbers if values.is_numeric else _describe_categories
        return {**self.heading(), "n_missing": int(values.missing.sum()), **numbers(values)}


def _describe_numbers(values: Values) -> dict[str, Any]:
    known = values.numbers()[~values.missing]
    described: dict[str, Any] = {"n_different": len(np.unique(known)), "categories": None}
    described |= dict.fromkeys(("min", "max", "mean", "quantiles"))
    if len(known):
        with np.errstate(over="ignore", invalid="ignore"):
            told = [known.min(), known.max(), *np.quantile(known, QUANTILES)]
            mean = float(known.mean())
        least, most, *quantiles = map(values.plain_value, map(float, told))
        described |= {"min": least, "max": most, "quantiles": quantiles}
        described["mean"] = None if values.kind == "date" else mean
    return described


def _describe_categories(values: Values) -> dict[str, Any]:
    assert values.categories is not None
    counts = np.bincount(values.stored[~values.missing], minlength=len(values.categories))
    frequent = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
    listed = [{"value": values.categories[i], "n": int(counts[i])} for i in frequent]
    described = dict.fromkeys(("min", "max", "mean", "quantiles"))
    return {**described, "n_different": int((counts > 0).sum()), "categories": listed}


class Columns:
    """The columns of a dashboard.

    Parameters
    ----------
    store : Store
    outcomes : Outcomes
    """

    def __init__(self, store: Store, outcomes: Outcomes) -> None:
        self._store = store
        self._outcomes = outcomes

    @cached_property
    def _stores(self) -> dict[str, Store]:
        """Whose features an id is of, by what it begins with."""
        engineered = self._store.engineered or self._store
        return {"x": self._store, "e": engineered, "": self._store}

    def find(self, name: str, pointer: str = "") -> Column:
        """Return the column of an id.

        Parameters
        ----------
        name : str
            As in docs/dashboard-api.md.
        pointer : str, default ""
            Where the id stands in the question.

        Raises
        ------
        QuestionError
            When there is none, or the explanation does not know it.
        """
        try:
            found = self._find(name)
            if found is not None:
                _ = found.values  # what is not known is found out here
                return found
        except UnavailableError as error:
            raise QuestionError(pointer, f"{pointer}: {error}") from None
        raise QuestionError(
            pointer, f"{pointer}: expected a column, as x0 or true, got {shown(name)}."
        )

    def _find(self, name: str) -> Column | None:
        for pattern, find in _FINDERS:
            found = pattern.fullmatch(name)
            if found:
                return find(self, name, *found.groups())
        return None

    def _of_feature(self, name: str, kind: str, place: str) -> Column | None:
        store, position = self._stores[kind], int(place)
        if position >= len(store.features):
            return None
        return Column(name, store.features[position], "feature", partial(store.values, position))

    def _of_importance(self, name: str, kind: str, place: str, output: str) -> Column | None:
        store, position, number = self._stores[kind], int(place), int(output or 0)
        if position >= len(store.features) or number >= store.n_outputs:
            return None

        def read() -> Values:
            return Values("number", store.importances(position, number))

        return Column(name, f"importance of {store.features[position]}", "importance", read)

    def _of_class(self, name: str, place: str) -> Column | None:
        position = int(place)
        if position >= len(self._outcomes.class_names):
            return None

        def read() -> Values:
            return Values("number", self._outcomes.probability(position))

        told = f"probability of {self._outcomes.class_names[position]}"
        return Column(name, told, "outcome", read)

    def _of_outcome(self, name: str, kind: str, output: str) -> Column | None:
        number = int(output or 0)
        n_targets = len(self._outcomes.outputs)
        known = {"true": 1, "predicted": 1, "outcome": 1}
        if self._outcomes.classes is None:
            known = dict.fromkeys(("true", "predicted", "error", "abs_error"), n_targets)
        if number >= known.get(kind, 0):
            return None
        told = kind.replace("abs_error", "absolute error")
        if output:
            told += f" of {self._outcomes.outputs[number]}"
        return Column(name, told, "outcome", partial(self._outcomes.values, kind, number))

    def _of_rows(self, name: str) -> Column:
        read = {"row": self._rows, "index": self._positions}[name]
        return Column(name, name, "row", read)

    def _rows(self) -> Values:
        names = self._store.row_names
        if names is not None:
            return names
        first, second = self._store.row_name(0), self._store.row_name(1)
        return Values("integer", first + (second - first) * np.arange(self._store.n_rows))

    def _positions(self) -> Values:
        return Values("integer", np.arange(self._store.n_rows))

    def of_outcomes(self) -> list[Column]:
        """Return the columns that are no features and that the explanation knows."""
        names = ["row", "index", "true", "predicted", "outcome", "error", "abs_error"]
        for output in range(1, self._store.n_outputs):
            names += [f"{kind}.{output}" for kind in ("true", "predicted", "error")]
        names += [f"p{position}" for position in range(len(self._outcomes.class_names))]
        return list(filter(None, map(self._known, names)))

    def _known(self, name: str) -> Column | None:
        try:
            return self.find(name)
        except QuestionError:
            return None


_FINDERS: tuple[tuple[re.Pattern[str], Callable[..., Column | None]], ...] = (
    (re.compile("(x|e)([0-9]{1,7})"), Columns._of_feature),
    (re.compile("(e?)phi([0-9]{1,7})(?:[.]([0-9]{1,4}))?"), Columns._of_importance),
    (re.compile("p([0-9]{1,4})"), Columns._of_class),
    (
        re.compile("(true|predicted|outcome|error|abs_error)(?:[.]([0-9]{1,4}))?"),
        Columns._of_outcome,
    ),
    (re.compile("row|index"), Columns._of_rows),
)
