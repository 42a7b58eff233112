"""Cohorts that are saved with an explanation: a small file beside it, which all its readers share.

The explanation itself stays as it was written: ``NAME`` has its cohorts in ``NAME.cohorts.json``.
Next: :mod:`service.dashboard.dashboard`.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.dashboard.cohorts import Cohorts
from service.dashboard.errors import QuestionError, UnavailableError
from service.dashboard.questions import Question

FORMAT = 1
MOST_BYTES = 2**20
KEPT = ("name", "match", "filters")
NO_PLACE = "This explanation has no file here that cohorts could be saved beside."
READ_ONLY = "This dashboard only reads the cohorts that are saved with the explanation."
CHANGED = "Somebody saved other cohorts meanwhile: look at them, or save again to replace them."


@dataclass(eq=False)
class SavedCohorts:
    """The cohorts beside an explanation.

    Attributes
    ----------
    file : Path or None
        Where they are; None where there is no place for them.
    why_not : str, default ""
        Why they cannot be saved; nothing where they can.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> saved = SavedCohorts.beside(Path(mkdtemp()) / "explanation")
    >>> saved.file.name, saved.reason
    ('explanation.cohorts.json', None)
    """

    file: Path | None = None
    why_not: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def beside(cls, explanation: str | Path, why_not: str = "") -> SavedCohorts:
        """Find the place beside an explanation's folder or zip file."""
        place = Path(explanation).absolute()
        return cls(place.with_name(f"{place.name}.cohorts.json"), why_not)

    @property
    def reason(self) -> str | None:
        """Why they cannot be saved, None where they can."""
        if self.file is None:
            return NO_PLACE
        if self.why_not:
            return self.why_not
        if not os.access(self.file.parent, os.W_OK):
            return f"{self.file.parent} cannot be written, so that no cohorts are saved there."
        return None

    def answer_read(self, cohorts: Cohorts) -> dict[str, Any]:
        """Answer ``api/saved``.

        Parameters
        ----------
        cohorts : Cohorts
            Of the explanation, which tell whether they fit.

        Returns
        -------
        dict
            As in docs/dashboard-api.md. What cannot be used is told, and nothing else of it.
        """
        told: dict[str, Any] = dict.fromkeys(("cohorts", "version", "problem"))
        told["reason"] = self.reason
        try:
            content = self._read()
            told["version"] = _version(content)
            told["cohorts"] = _parse(content, cohorts)
        except UnavailableError as error:
            told["problem"] = str(error)
        return told

    def answer_write(self, cohorts: Cohorts, question: Question) -> dict[str, Any]:
        """Answer ``api/save``.

        Parameters
        ----------
        cohorts : Cohorts
        question : Question
            With ``cohorts``, and the ``version`` that was read last.

        Returns
        -------
        dict
            As :meth:`answer_read`.

        Raises
        ------
        QuestionError
            When a cohort is wrong, or all are too much for a file.
        UnavailableError
            When they cannot be saved, or somebody else did.
        """
        if self.reason is not None:
            raise UnavailableError(self.reason)
        part = question.part("cohorts")
        cohorts.read_all(question)
        listed = list(map(_keep, part.items(MOST_BYTES)))
        content = json.dumps({"format": FORMAT, "cohorts": listed}, indent=1).encode()
        if len(content) > MOST_BYTES:
            raise QuestionError(part.pointer, f"Cohorts: expected at most {MOST_BYTES} bytes.")
        with self._lock:
            if _version(self._read()) != question.part("version").text(""):
                raise UnavailableError(CHANGED)
            self._write(content)
        return self.answer_read(cohorts)

    def _read(self) -> bytes:
        """Return the file's content, nothing where there is none."""
        if self.file is None or not self.file.is_file():
            return b""
        try:
            with self.file.open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
        except OSError as error:
            raise UnavailableError(f"{self.file.name} cannot be read: {error.strerror}.") from None
        return content

    def _write(self, content: bytes) -> None:
        """Put a whole file in the place of the former one."""
        assert self.file is not None
        written = self.file.with_name(f".{self.file.name}-{secrets.token_hex(8)}")
        try:
            written.write_bytes(content)
            os.replace(written, self.file)
        except OSError as error:
            with suppress(OSError):
                written.unlink(missing_ok=True)
            told = f"{self.file.name} cannot be written: {error.strerror}."
            raise UnavailableError(told) from None


def _version(content: bytes) -> str:
    """Name a state of the file, with nothing for none."""
    return hashlib.sha256(content).hexdigest()[:16] * bool(content)


def _keep(cohort: Question) -> dict[str, Any]:
    """Return what a cohort is made of, without what else came with it."""
    return dict(filter(lambda one: one[0] in KEPT, cohort.value.items()))


def _parse(content: bytes, cohorts: Cohorts) -> list[Any] | None:
    """Return the cohorts of a file, None where there is none.

    Raises
    ------
    UnavailableError
        When it is none of ours, or its cohorts do not fit the explanation.
    """
    if not content:
        return None
    try:
        told = Question(json.loads(content))
        told.part("format").choice([FORMAT])
        cohorts.read_all(told)
        return list(map(_keep, told.part("cohorts").items(MOST_BYTES)))
    except (ValueError, RecursionError):
        why = "it is no JSON"
    except QuestionError as error:
        why = str(error)
    raise UnavailableError(f"The saved cohorts cannot be used: {why}")
