"""Requests that threads answer, and those that are answered in their place.

A thread computes a request to its end. Where that takes longer than the deadline, the main loop
answers, and what the thread returns later is neither sent, counted nor logged.

Next: `service.server.worker.clients`.
"""

from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from operator import attrgetter
from typing import Any

from gunicorn.workers.gthread import TConn

from service.server.process import lifecycle, settings
from service.server.worker.clients import ClientsWorker
from service.web.request_limits import Deadline, ServedRequest, of_this_request

SECONDS_TO_GIVE_UP = 0.2  # behind its deadline, for a thread that is about to say so itself
LEFT = object()  # in the place of a request that was answered in the place of its thread
CLOSES: Future[bool] = Future()  # of an answer after which the connection is not kept
CLOSES.set_result(False)


class AnsweringWorker(ClientsWorker):
    """A worker each of whose requests has one answer, in time."""

    alive: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What threads answer: whoever takes it out of here answers.
        self.answering: dict[TConn, tuple[Any, ServedRequest] | None] = {}
        # What was answered in the place of threads that still go on.
        self.left: dict[TConn, ServedRequest] = {}

    def handle(self, conn: TConn) -> bool | None:
        """Answer a request, and send what the client takes at once.

        None where it was answered in the place of this thread.
        """
        self.answering[conn] = None
        is_kept = False
        try:
            is_kept = bool(super().handle(conn))
        except BaseException:  # as sys.exit(): its client is let go, and nobody else
            self.log.exception("Error handling a request.")
        begun: Any = self.answering.pop(conn, LEFT)
        if begun is LEFT:
            return None
        if begun is not None:
            begun[1].record_answer()
        self._send(conn)
        return is_kept

    def handle_request(self, req: Any, conn: TConn) -> bool:
        """Answer a request whose headers have been read."""
        if not conn.incoming.is_whole:
            req.force_close()
        self._close_when_ending(req)
        req._expected_100_continue = False  # it was told to go on
        served = ServedRequest(Deadline(settings.deadline, lifecycle.last_answer))
        self.answering[conn] = req, served
        of_this_request.set(served)
        return bool(super().handle_request(req, conn))

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Go on with a connection, unless another answer has taken it; in the main loop."""
        if self.left.pop(conn, None) is None:
            super().finish_request(conn, fs)

    def _answer_late_requests(self) -> None:
        """Answer in the place of threads that compute for longer than the deadline.

        They answer by themselves where the script lets them, and with more to say.
        """
        for conn, begun in list(self.answering.items()):
            if begun is not None and begun[1].deadline.seconds_over > SECONDS_TO_GIVE_UP:
                self._answer_in_place(conn)

    def _answer_in_place(self, conn: TConn) -> None:
        begun = self.answering.pop(conn, None)
        if begun is None:  # it has just been answered
            return
        req, self.left[conn] = begun
        # The thread has a connection of its own from now on, which leads to nobody.
        others = copy(conn)
        others.sock = conn.sock.leave()
        try:
            with suppress(OSError):  # it has gone
                self._refuse_late(others, req, begun[1].in_place())
        except Exception:  # this is the main loop: others are answered on
            self.log.exception("Error refusing a late request.")
        self.finish_request(others, CLOSES)

    def _refuse_late(self, conn: TConn, req: Any, served: ServedRequest) -> None:
        """Ask the application once more, which refuses what is late in the form of its route.

        It does so in the main loop: all threads may be taken by what does not end.
        """
        req.should_close = lambda: True
        of_this_request.set(served)
        super().handle_request(req, conn)
        served.record_answer()
        self._send(conn)

    def _close_when_ending(self, req: Any) -> None:
        """Let the client connect anew, elsewhere, when its answer begins after the end has begun.

        Gunicorn asks when the answer begins and once more when it is written; what the client was
        told holds.
        """
        closes, told = req.should_close, None

        def should_close() -> bool:
            nonlocal told
            if told is None:
                told = bool(lifecycle.is_draining or not self.alive or closes())
            return told

        req.should_close = should_close

    def _end_if_stuck(self) -> None:
        left = map(attrgetter("thread"), filter(attrgetter("is_stuck"), self.left.values()))
        if self.alive and (stuck := self.wsgi.extensions["stuck"](left)):
            self.log.error(
                "Worker %d has a computation that does not end (DEADLINE_SECONDS is long over): it "
                "finishes its other requests, and another takes its place. It stands here:\n%s",
                self.pid,
                "\n".join(stuck),
            )
            self.alive = False
