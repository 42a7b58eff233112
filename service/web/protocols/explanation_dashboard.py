"""The dashboard of an explanation beside the scores: same origin, same keys, same model.

Its questions wait behind those for scores: one at a time asks the model in a process, piece by
piece, and lets whoever waits go first after each. Next: :mod:`service.web.protocols.openapi`.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Blueprint, g, request

from service.dashboard.dashboard import Dashboard
from service.dashboard.errors import BusyError
from service.dashboard.limits import SECONDS
from service.dashboard.model_access import Asking, Check, make_check
from service.dashboard.routes import make_routes
from service.dashboard.saved_cohorts import READ_ONLY, SavedCohorts
from service.dashboard.store import open_store
from service.errors import ScoringError
from service.settings import Settings, SettingsError
from service.web.bodies import read_bytes
from service.web.guarded_script import GuardedScript
from service.web.request_limits import Deadline

PREFIX = "/dashboard"
MOST_ADMITTED = 8  # questions in a process, beyond which 429
MOST_COMPUTED = 2  # of them at once
NO_MODEL = (
    "The entry script does not return its ScoringModel from init(), so that nobody can be asked."
)
BUSY = "The dashboard is asked too much at once; try again in a second."


class _Turn:
    """A slot among those who compute, given up after each piece for whoever waits."""

    def __init__(self, script: GuardedScript, deadline: Deadline) -> None:
        self._gate = script.gate
        self._deadline = deadline
        self._is_held = False

    def take(self) -> None:
        """Wait for a slot."""
        self._gate.take_slot(self._deadline)
        self._is_held = True

    def give_up(self) -> None:
        """Pass the slot on, where it is held."""
        if self._is_held:
            self._is_held = False
            self._gate.pass_slot_on()


class ServedModelAccess:
    """Asks the model that serves, behind those who want scores.

    Parameters
    ----------
    script : GuardedScript
    """

    def __init__(self, script: GuardedScript) -> None:
        self._script = script
        self._asking = threading.BoundedSemaphore(1)
        self._admitted = threading.BoundedSemaphore(MOST_ADMITTED)
        self._computing = threading.BoundedSemaphore(MOST_COMPUTED)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place among the questions that are answered.

        Raises
        ------
        BusyError
            When there are too many.
        """
        if not self._admitted.acquire(blocking=False):
            raise BusyError(BUSY)
        try:
            if not self._computing.acquire(timeout=g.deadline.left):
                raise BusyError(BUSY)
            try:
                yield
            finally:
                self._computing.release()
        finally:
            self._admitted.release()

    def of_request(self, environ: Mapping[str, Any]) -> Asking:
        """Return how the model is asked for a request."""
        deadline: Deadline = g.deadline
        script, asking = self._script, self._asking

        def ask(work: Callable[[Check], Any]) -> Any:
            if not asking.acquire(blocking=False):
                raise BusyError("The model is being asked already; try again in a second.")
            check_client = make_check(environ, time.monotonic() + SECONDS)
            turn = _Turn(script, deadline)

            def check() -> None:
                deadline.check()
                check_client()
                turn.give_up()
                turn.take()

            def compute() -> Any:
                try:
                    turn.take()
                    return work(check)
                finally:
                    turn.give_up()
                    asking.release()

            return script.computations.run(compute, deadline)

        return ask


def dashboard_routes(script: GuardedScript, settings: Settings) -> Blueprint:
    """Open the explanation that ``DASHBOARD`` names, and make its routes under ``/dashboard``.

    Parameters
    ----------
    script : GuardedScript
    settings : Settings

    Raises
    ------
    SettingsError
        When there is no explanation, or a file was altered.
    """
    assert settings.dashboard is not None
    model = script.entry_script.model
    try:
        dashboard = Dashboard(
            open_store(settings.dashboard),
            model,
            title=settings.dashboard.stem,
            why_no_model=NO_MODEL,
            saved=SavedCohorts.beside(settings.dashboard, READ_ONLY),
        )
    except ScoringError as error:
        raise SettingsError(f"DASHBOARD: {error}") from error

    def read_body() -> bytes:
        return read_bytes(request)

    return make_routes(
        dashboard,
        ServedModelAccess(script),
        url_prefix=PREFIX,
        check_key=script.check_key,
        read_body=read_body,
        frame_ancestors=" ".join(settings.dashboard_frames) or "'self'",
    )
