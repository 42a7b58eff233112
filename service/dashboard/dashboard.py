"""A dashboard: one explanation, with the model that may be asked beside it.

Next: :mod:`service.dashboard.charts`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.cohorts import Cohorts
from service.dashboard.columns import Columns
from service.dashboard.errors import UnavailableError
from service.dashboard.outcomes import Outcomes
from service.dashboard.questions import Question
from service.dashboard.saved_cohorts import SavedCohorts
from service.dashboard.store import Store
from service.dashboard.values import Values
from service.errors import ManifestError, ScoringError
from service.scoring.answer import Answer
from service.scoring.request import ScoringRequest
from service.scoring.scoring_model import ScoringModel

NO_MODEL = "No model answers here: name one to ask what if."
MOST_KEPT = 32
N_COMPARED = 20  # rows for which the model's answers are compared with those that were saved
TOLERANCE = 1e-4


@dataclass(eq=False)
class Dashboard:
    """What answers the questions of the page.

    Attributes
    ----------
    store : Store
        The explanation.
    model : ScoringModel or None
        Who is asked what if.
    title : str
    positive : object, optional
        The positive class of a binary task, by its name; the last one by default.
    why_no_model : str
        The reason that is shown where there is none.
    saved : SavedCohorts
        The cohorts that are saved with the explanation.

    Raises
    ------
    ManifestError
        When labels are of no class. A model that is not the one that was explained is left out,
        and `why_no_model` says so.

    Examples
    --------
    >>> from service.dashboard.store import store_of
    >>> from service.explanations import LocalExplanation
    >>> local = LocalExplanation.from_values([[1.0, -2.0]], expected_values=5.0)
    >>> Dashboard(store_of(local), title="Two features").why_no_model
    'No model answers here: name one to ask what if.'
    """

    store: Store
    model: ScoringModel | None = None
    title: str = "Explanation"
    positive: Any = None
    why_no_model: str = NO_MODEL
    saved: SavedCohorts = field(default_factory=SavedCohorts)

    def __post_init__(self) -> None:
        """Look at what the explanation knows, so that a wrong file is named at once."""
        try:
            self.outcomes = Outcomes(self.store, self.positive)
            self.outcomes.check()
        except ValueError as error:
            raise ManifestError(f"{self.store.folder}: {error}") from None
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._ranges: dict[int, tuple[Any, Any, set[Any] | None]] = {}
        self._lock = threading.Lock()
        self.columns = Columns(self.store, self.outcomes)
        self.cohorts = Cohorts(self.columns, self.store.n_rows)
        self._check_model()

    def _check_model(self) -> None:
        """Do without a model that takes other columns, or answers otherwise, and say why."""
        if self.model is None:
            return
        try:
            why = self._find_difference(self.model)
        except ScoringError as error:
            why = f"The model does not take the rows of the explanation: {error}"
        if why:
            self.model, self.why_no_model = None, why

    def _find_difference(self, model: ScoringModel) -> str:
        """Tell why an explanation is not of this model; nothing where it is."""
        store, outcomes = self.store, self.outcomes
        missing = sorted(set(store.features) - set(model.schema.names))
        if missing:
            return (
                f"The explanation is of other columns than the model takes: {missing[:3]}. Explain "
                "the model that answers."
            )
        n_classes, n_known = len(model.scoring_explainer.classes or ()), len(outcomes.class_names)
        if n_classes != n_known:
            return (
                f"The explanation is of {n_known} classes, the model of {n_classes}. Explain the "
                "model that answers."
            )
        return self._compare_answers(model)

    def _compare_answers(self, model: ScoringModel) -> str:
        store, outcomes = self.store, self.outcomes
        columns = list(map(store.values_of, model.schema.names))
        known = list(filter(None, columns))
        can_compare = len(known) == len(columns) and outcomes.has_predictions
        if not (can_compare and store.n_rows):
            return ""
        rows = np.unique(np.linspace(0, store.n_rows - 1, N_COMPARED).astype(np.intp))
        cells = [values.plain(rows) for values in known]
        matrix = model.schema.from_named(model.schema.names, cells)
        wants_shares = outcomes.probabilities is not None
        wants_shares = wants_shares and hasattr(model.original_model, "predict_proba")
        request = ScoringRequest(explain=False, probabilities=wants_shares)
        answer = model.predict_and_explain(matrix, request)
        saved, asked = self._pair_answers(rows, answer)
        wrong = np.flatnonzero(~np.isclose(saved, asked, rtol=TOLERANCE, atol=TOLERANCE))
        if len(wrong) == 0:
            return ""
        row, was, now = rows[wrong[0]], saved[wrong[0]], asked[wrong[0]]
        return (
            f"The explanation is of another model than the one that answers: for row "
            f"{store.row_name(int(row))} it knows {was:.6g}, and the model now says {now:.6g}. "
            "Explain the model that answers."
        )

    def _pair_answers(
        self, rows: NDArray[np.intp], answer: Answer
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what was saved and what is answered: probabilities, classes or predictions."""
        outcomes = self.outcomes
        if "probabilities" in answer.arrays:
            assert outcomes.probabilities is not None
            position = outcomes.first_output
            shares = outcomes.probabilities[rows, position]
            return np.asarray(shares), answer.arrays["probabilities"][:, position]
        predictions = answer.predictions.reshape(len(rows), -1)[:, 0]
        if outcomes.classes is None:
            return outcomes.numbers("predicted")[rows], predictions.astype(np.float64)
        saved, asked = outcomes.codes("predicted")[rows], outcomes.code_labels(predictions)
        return saved.astype(np.float64), asked.astype(np.float64)

    def remember(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return what was computed for a key, or compute it; what was asked last is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        computed = compute()
        with self._lock:
            self._kept[key] = computed
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return computed

    def ranges(self, position: int) -> tuple[Any, Any, set[Any] | None]:
        """Return the least and the largest value of a feature, or its categories."""
        if position not in self._ranges:
            self._ranges[position] = _find_range(self.store.values(position))
        return self._ranges[position]

    def asked_model(self) -> ScoringModel:
        """Return the model.

        Raises
        ------
        UnavailableError
            Where there is none.
        """
        if self.model is None:
            raise UnavailableError(self.why_no_model)
        return self.model

    @cached_property
    def views(self) -> dict[str, Store]:
        """The explanation of the columns that were explained, and that of engineered ones."""
        engineered = self.store.engineered
        return {"raw": self.store} | ({} if engineered is None else {"engineered": engineered})

    def view(self, question: Question) -> Store:
        """Return the explanation of the view that a question asks for.

        Raises
        ------
        QuestionError
            When there is none of that name.
        """
        name = question.part("view").choice(list(self.views), "raw")
        return self.views[name]

    def output(self, question: Question, name: str = "class") -> int:
        """Return the output that a question asks for: the positive class, or the first."""
        default = self.outcomes.first_output
        return question.part(name).count(default, 0, len(self.outcomes.outputs) - 1)


def _find_range(values: Values) -> tuple[Any, Any, set[Any] | None]:
    if values.categories is not None:
        return None, None, set(values.categories)
    known = values.numbers()[~values.missing]
    if len(known) == 0:
        return None, None, None
    least, most = map(values.plain_value, (float(known.min()), float(known.max())))
    return least, most, None
