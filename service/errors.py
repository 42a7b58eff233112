"""What can go wrong in scoring.

ScoringError
├── PayloadError            the rows do not fit the model; for clients to see; a ValueError too
│   └── TooManyRowsError    there are more of them than a request may have
├── ModelOutputError        the model answered something that cannot be explained
├── UnsupportedStructureError  a model's inside cannot be read; stays inside, Kernel SHAP takes over
├── WrongKindError          a model is of another kind than an engine asks for; a ValueError too
├── MissingPackageError     what was asked for needs a package that is not installed
├── BatchError              a file cannot be scored
├── SelfCheckError          model and scoring explainer do not belong together
└── ArtifactError           a saved scoring explainer or explanation cannot be written or loaded
    ├── ManifestError       its manifest is missing or unreadable
    ├── DigestError         the file is not the one that the manifest describes
    └── VersionError        it was saved with other library versions

There are no HTTP statuses here: :mod:`service.web` maps these errors to them. A run of checks is
written as a run of :func:`expect`, each with what is expected and the sentence of its refusal.
Next: :mod:`service.version`.
"""

from collections.abc import Callable, Iterable


class ScoringError(Exception):
    """Base of everything that :mod:`service.scoring` raises on its own account."""


class PayloadError(ScoringError, ValueError):
    """Rows that do not fit; says which column and row, what was expected and what came."""


def expect(fits: bool, sentence: str, refusal: type[Exception] = PayloadError) -> None:
    """Refuse what does not fit.

    Parameters
    ----------
    fits : bool
    sentence : str
        Who, what was expected, what came. It is written whether it is needed or not, so let it be
        cheap; and it may not be about what only a misfit has.
    refusal : type, default PayloadError

    Raises
    ------
    PayloadError
        Or another refusal, with that sentence.

    Examples
    --------
    >>> expect(2 + 2 == 4, "Arithmetic: expected 4.")
    """
    if not fits:
        raise refusal(sentence)


def expect_each(fit: Iterable[bool], sentence: Callable[[int], str]) -> None:
    """Refuse the first of many that does not fit.

    Parameters
    ----------
    fit : iterable of bool
        Of each whether it fits; they are looked at in order, and none behind the first misfit.
    sentence : callable
        The place of the misfit, from 0, to the sentence of its refusal.

    Raises
    ------
    PayloadError
        With that sentence.

    Examples
    --------
    >>> expect_each([True, False], "Row {}: expected something that fits.".format)
    Traceback (most recent call last):
    service.errors.PayloadError: Row 1: expected something that fits.
    """
    for place, fits in enumerate(fit):
        if not fits:
            raise PayloadError(sentence(place))


class NotJsonError(PayloadError):
    """A text that does not begin as JSON, or goes on after it: it may be rows in another format."""


class TooManyRowsError(PayloadError):
    """More rows than a request may have."""


class ModelOutputError(ScoringError):
    """A model output that cannot be explained: missing values, or a wrong shape."""


class UnsupportedStructureError(ScoringError):
    """A model of a known kind whose inside cannot be read."""


class WrongKindError(ScoringError, ValueError):
    """A model of another kind than was asked for, or one whose inside cannot be read.

    Parameters
    ----------
    kind : str
        What was expected.
    name : str
        What came.
    note : str, optional
        Why it cannot be read.
    """

    def __init__(self, kind: str, name: str, note: str = "") -> None:
        self.kind, self.name, self.note = kind, name, note
        super().__init__(f"engine={kind!r}: {self.said}; use engine='auto'.")

    @property
    def said(self) -> str:
        """What was expected, and what came."""
        why = f" ({self.note.rstrip('.')})" if self.note else ""
        return f"expected a {self.kind} model, got {self.name}{why}"


class MissingPackageError(ScoringError):
    """What was asked for needs a package that is not installed."""


class BatchError(ScoringError):
    """A file that cannot be scored."""


class SelfCheckError(ScoringError):
    """A model and a scoring explainer that do not belong together."""


class ArtifactError(ScoringError):
    """A scoring explainer or explanation that cannot be saved or loaded."""


class ManifestError(ArtifactError):
    """A manifest that is missing or unreadable."""


class DigestError(ArtifactError):
    """A file whose SHA-256 differs from the one in its manifest."""


class VersionError(ArtifactError):
    """Library versions that differ from those the artifact was saved with."""
