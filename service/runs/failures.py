"""What can go wrong with a store of runs.

RunStoreError
├── StoreVersionError           its database is of another version of MLflow
├── StoreUnreachableError       its server does not answer in time
└── NotInStoreError             there is no such run, model or file; a LookupError too
    └── ExplanationNotFoundError

Next: :mod:`service.runs.surroundings`.
"""

from service.errors import ScoringError


class RunStoreError(ScoringError):
    """A store of runs that refuses something."""


class StoreVersionError(RunStoreError):
    """A database of another version of MLflow than is installed."""


class StoreUnreachableError(RunStoreError):
    """A server that does not answer, or not in time."""


class NotInStoreError(RunStoreError, LookupError):
    """A run, a model or a file that is not there; says what is."""


class ExplanationNotFoundError(NotInStoreError):
    """An explanation that is not there; says which are."""
