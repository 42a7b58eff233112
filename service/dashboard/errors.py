"""What can go wrong in the dashboard.

::

    DashboardError
    ├── QuestionError     a question that cannot be answered as it is; names the place in it
    ├── UnavailableError  this dashboard has not got what the answer needs
    └── BusyError         the model is being asked already

Files that are no explanation raise :class:`service.errors.ArtifactError`.

Next: :mod:`service.dashboard.mapped_arrays`.
"""

from __future__ import annotations


class DashboardError(Exception):
    """Base of every error that the dashboard raises on purpose; its message is safe for clients."""

    pointer: str | None = None


class QuestionError(DashboardError):
    """A question that is wrong.

    Parameters
    ----------
    pointer : str
        Where in the question, as a JSON pointer.
    message : str
        What was expected and what came.
    """

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


class UnavailableError(DashboardError):
    """The dashboard has not got what an answer needs; the message says why."""


class BusyError(DashboardError):
    """The model is being asked already; try again."""
