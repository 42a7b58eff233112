"""The columns that a question can name: features, importances, outcomes, rows.

Next: :mod:`service.dashboard.questions`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from service.dashboard.errors import QuestionError, UnavailableError
from service.dashboard.outcomes import Outcomes
from service.dashboard.store import Store
from service.dashboard.values import MOST_CATEGORIES, Values
from service.rows.values import shown

OF_A_FEATURE = re.compile("(x|e|phi|ephi)([0-9]{1,7})(?:[.]([0-9]{1,4}))?")
OF_AN_OUTCOME = re.compile("(true|predicted|error|abs_error)(?:[.]([0-9]{1,4}))?")
OF_A_CLASS = re.compile("p([0-9]{1,4})")
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
        of_feature, of_class = OF_A_FEATURE.fullmatch(name), OF_A_CLASS.fullmatch(name)
        of_outcome = OF_AN_OUTCOME.fullmatch(name)
        if of_feature:
            return self._of_feature(name, *of_feature.groups())
        if of_class:
            return self._of_class(name, int(of_class.group(1)))
        if of_outcome:
            return self._of_outcome(name, *of_outcome.groups())
        if name == "outcome" and self._outcomes.classes is not None:
            return Column(name, name, "outcome", lambda: self._outcomes.values(name))
        if name in ("row", "index"):
            return Column(name, name, "row", self._rows if name == "row" else self._positions)
        return None

    def _of_feature(self, name: str, kind: str, place: str, output: str | None) -> Column | None:
        store = self._store.engineered if kind.startswith("e") else self._store
        position = int(place)
        if store is None or position >= len(store.features):
            return None
        feature = store.features[position]
        if kind in ("x", "e"):
            is_whole = output is None
            return (
                Column(name, feature, "feature", lambda: store.values(position))
                if is_whole
                else None
            )
        number = int(output or 0)
        if number >= store.n_outputs:
            return None
        return Column(
            name,
            f"importance of {feature}",
            "importance",
            lambda: Values("number", store.importances(position, number)),
        )

    def _of_class(self, name: str, position: int) -> Column | None:
        classes = self._outcomes.classes
        if classes is None or position >= len(classes):
            return None
        return Column(
            name,
            f"probability of {classes[position]}",
            "outcome",
            lambda: Values("number", self._outcomes.probability(position)),
        )

    def _of_outcome(self, name: str, kind: str, output: str | None) -> Column | None:
        number = int(output or 0)
        is_regression = self._outcomes.classes is None
        is_known = number < len(self._outcomes.outputs) if is_regression else output is None
        if not is_known or (kind.endswith("error") and not is_regression):
            return None
        told = kind.replace("abs_error", "absolute error")
        told = told if output is None else f"{told} of {self._outcomes.outputs[number]}"
        return Column(name, told, "outcome", lambda: self._outcomes.values(kind, number))

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
        n_classes = len(self._outcomes.classes or [])
        names = ["row", "index", "true", "predicted", "outcome", "error", "abs_error"]
        if self._outcomes.classes is None and len(self._outcomes.outputs) > 1:
            for output in range(1, len(self._outcomes.outputs)):
                names += [f"{kind}.{output}" for kind in ("true", "predicted", "error")]
        names += [f"p{position}" for position in range(n_classes)]
        return list(filter(None, map(self._known, names)))

    def _known(self, name: str) -> Column | None:
        try:
            return self.find(name)
        except QuestionError:
            return None
