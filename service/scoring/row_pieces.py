"""The rows of a request, piece by piece, in as many threads as its host has for them.

The request's own thread takes one piece after the other, each of some 50 ms. Where what is left is
worth it, helpers take pieces too, for as long as there is room for them. Each row is computed by
itself, so that neither pieces nor threads change a byte. Next:
:mod:`service.scoring.scoring_model`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from service.scoring.request import Helpers, ScoringRequest

SECONDS_A_PIECE = 0.05  # a piece of rows doubles as long as it takes less
WORTH = 0.005  # seconds of work: waking a thread for it takes a hundredth of that
Result = TypeVar("Result")


def explain_pieces(
    explain: Callable[[NDArray[Any]], Result],
    rows: NDArray[Any],
    request: ScoringRequest,
    *,
    may_share: Callable[[], bool],
) -> list[Result]:
    """Explain rows piece by piece; stop between two when nobody waits any more.

    Parameters
    ----------
    explain : callable
        Takes some rows.
    rows : ndarray of shape (n_rows, n_features)
    request : ScoringRequest
        Its ``check`` is called before each piece, its ``helpers`` take part.
    may_share : callable
        Tells whether `explain` may be called from several threads at once.

    Returns
    -------
    list
        What `explain` returned for each piece, in the order of the rows.

    Raises
    ------
    Exception
        What `explain` or the check raised: of several pieces that for the first rows.
    """
    if len(rows) == 1:
        request.check()
        return [explain(rows)]
    pieces = _Pieces(explain, rows, request.check)
    if request.helpers is None or not may_share():
        pieces.work()
    else:
        _Sharing(pieces, request.helpers).work()
    return pieces.results()


class _Pieces(Generic[Result]):
    """Rows that threads take from the front, and what became of them; thread-safe."""

    def __init__(
        self,
        explain: Callable[[NDArray[Any]], Result],
        rows: NDArray[Any],
        check: Callable[[], None],
    ) -> None:
        self._explain, self._rows, self._check = explain, rows, check
        self._changed = threading.Condition()
        self._next = 0  # the first row that nobody has taken
        self._n_at_work = 0
        self._done: dict[int, Result] = {}  # by the first row
        self._errors: dict[int, BaseException] = {}

    @property
    def n_left(self) -> int:
        """How many rows nobody has taken; none after an error."""
        return 0 if self._errors else len(self._rows) - self._next

    def work(
        self,
        before: Callable[[], bool] = lambda: True,
        n_threads: Callable[[], int] = lambda: 1,
        after: Callable[[int, float], None] = lambda n_rows, seconds: None,
    ) -> None:
        """Take pieces until there are no more, or `before` says no."""
        size = 1
        while before() and (taken := self._take(size, n_threads())):
            began = time.perf_counter()
            self._finish(taken)
            seconds = time.perf_counter() - began
            after(len(taken), seconds)
            size = _next_size(size, seconds)

    def results(self) -> list[Result]:
        """Wait for what others have taken, and return what came of all, in order."""
        with self._changed:
            self._changed.wait_for(lambda: self._n_at_work == 0)
        if self._errors:
            raise self._take_error()
        return [self._done[first] for first in sorted(self._done)]

    def _take_error(self) -> BaseException:
        """Return the error of the first rows; none is kept here, since it keeps this object."""
        with self._changed:
            self._next = len(self._rows)  # nobody goes on
        error = self._errors[min(self._errors)]
        self._errors.clear()
        return error

    def _take(self, size: int, n_threads: int) -> range:
        """Take a piece; towards the end a small one, so that all threads end together."""
        with self._changed:
            if n_threads > 1:
                size = min(size, -(-self.n_left // (2 * n_threads)))
            taken = range(self._next, self._next + min(size, self.n_left))
            self._next = taken.stop
            self._n_at_work += len(taken) > 0
        return taken

    def _finish(self, taken: range) -> None:
        try:
            self._check()
            self._done[taken.start] = self._explain(self._rows[taken.start : taken.stop])
        except BaseException as error:
            self._errors[taken.start] = error
        with self._changed:
            self._n_at_work -= 1
            self._changed.notify_all()


class _Sharing:
    """Lets helpers take part in pieces while there is enough left and room for them."""

    def __init__(self, pieces: _Pieces[Any], helpers: Helpers) -> None:
        self._pieces, self._helpers = pieces, helpers
        self._lock = threading.Lock()
        self._n_helping = 0
        self._n_done, self._seconds = 0, 0.0  # by this thread
        self._known = self._seconds_a_row = self._found = helpers.seconds_a_row

    def work(self) -> None:
        """Take pieces in this thread, and call helpers before each."""
        self._pieces.work(self._call_helpers, self._count_threads, self._note)
        self._helpers.learn(self._found)

    def _note(self, n_rows: int, seconds: float) -> None:
        """Note what rows took: no more than is known, since a thread may have had to wait."""
        self._n_done += n_rows
        self._seconds += seconds
        self._found = self._seconds / self._n_done
        self._seconds_a_row = min(self._found, self._known or self._found)

    def _call_helpers(self) -> bool:
        is_worth_it = self._pieces.n_left * self._seconds_a_row > WORTH
        n_more = self._helpers.most() - self._n_helping if is_worth_it else 0
        with suppress(RuntimeError):  # no thread can be started: the work goes on without it
            for _ in range(n_more):
                self._call_one()
        return True

    def _call_one(self) -> None:
        with self._lock:
            self._n_helping += 1
        try:
            self._helpers.start(self._help)
        except RuntimeError:
            with self._lock:
                self._n_helping -= 1
            raise

    def _help(self) -> None:
        self._pieces.work(self._may_stay, self._count_threads)

    def _may_stay(self) -> bool:
        """Let one helper go where there are more than there is room for."""
        with self._lock:
            may_stay = self._n_helping <= self._helpers.most()
            self._n_helping -= not may_stay
        return may_stay

    def _count_threads(self) -> int:
        return 1 + self._n_helping


def _next_size(size: int, seconds: float) -> int:
    """Double the size of a piece that took little time, halve that of one that took much."""
    if seconds < SECONDS_A_PIECE:
        return size * 2
    return max(1, size // 2) if seconds > 2 * SECONDS_A_PIECE else size
