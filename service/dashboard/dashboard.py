"""A dashboard: one explanation, with the model that may be asked beside it.

Next: :mod:`service.dashboard.routes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from service.dashboard.cohorts import Cohorts
from service.dashboard.columns import Columns
from service.dashboard.errors import UnavailableError
from service.dashboard.meta import NO_MODEL, describe_dashboard
from service.dashboard.outcomes import Outcomes
from service.dashboard.questions import Question
from service.dashboard.store import Store
from service.errors import ManifestError
from service.scoring.scoring_model import ScoringModel


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
    copy : object
        Keeps a temporary copy of the files for as long as the dashboard lives.

    Raises
    ------
    ManifestError
        When labels are of no class, or the explanation is of other columns than the model takes.
    """

    store: Store
    model: ScoringModel | None = None
    title: str = "Explanation"
    positive: Any = None
    why_no_model: str = ""
    copy: Any = None

    def __post_init__(self) -> None:
        """Look at what the explanation knows, so that a wrong file is named at once."""
        try:
            self.outcomes = Outcomes(self.store, self.positive)
        except ValueError as error:
            raise ManifestError(f"{self.store.folder}: {error}") from None
        self.columns = Columns(self.store, self.outcomes)
        self.cohorts = Cohorts(self.columns, self.store.n_rows)
        self._check_model()

    def _check_model(self) -> None:
        """Refuse a model that takes other columns than those that were explained."""
        if self.model is None:
            return
        names = self.model.schema.names
        missing = sorted(set(self.store.features) - set(names))
        if missing:
            raise ManifestError(
                f"{self.store.folder}: expected an explanation of the model's columns, got "
                f"{missing[:3]} that it does not take; explain the model that is served."
            )

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What there is to ask for."""
        return describe_dashboard(self)

    def asked_model(self) -> ScoringModel:
        """Return the model.

        Raises
        ------
        UnavailableError
            Where there is none.
        """
        if self.model is None:
            raise UnavailableError(self.why_no_model or NO_MODEL)
        return self.model

    def view(self, question: Question) -> Store:
        """Return the explanation of the view that a question asks for.

        Raises
        ------
        QuestionError
            When there is none of that name.
        """
        names = [view["name"] for view in self.meta["views"]]
        name = question.part("view").choice(names, "raw")
        engineered = self.store.engineered
        return engineered if name == "engineered" and engineered is not None else self.store

    def output(self, question: Question, name: str = "class") -> int:
        """Return the output that a question asks for: the positive class, or the first."""
        default = self.outcomes.positive or 0
        return question.part(name).count(default, 0, len(self.outcomes.outputs) - 1)
