"""The worker of this service: how it starts, takes connections and ends.

Gunicorn imports this module before it makes the environment of the libraries: none of those that
read it may be imported here.

Next: `service.server.worker.forks`.
"""

import atexit
import errno
import faulthandler
import os
import selectors
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from gunicorn.sock import create_sockets

from service.container_limits import files_left
from service.server.process import connections, lifecycle, load, replica_sockets, settings, startup
from service.server.startup import ENDING, FAILED, HELD_SECONDS
from service.server.worker.borrowed_port import BorrowedPort
from service.server.worker.forks import end_at_signals, hold_signals, let_signals_through
from service.server.worker.late_requests import AnsweringWorker
from service.server.worker.leftovers import end_at_last, end_pools, names_of, threads_that_go_on
from service.web.request_limits import PATIENCE

# A worker that is busy, or stopped, does not keep a client waiting.
YIELD_SECONDS, MOST_YIELDS = 0.001, 50
# Beyond what requests may take: for clients that are about to send one, or to go.
SECONDS_TO_END = 5.0
LOOK_SECONDS = 0.1  # at least, between two looks at all clients and computations
# Bytes of an answer that the kernel keeps for a slow client: with more of them it could not be seen
# for a long time whether the client takes any.
LEAST_KEPT = 2**18
# What accept() says where files, or memory for one more, have run out.
OUT_OF_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SECONDS_OF_SILENCE = 10.0  # between two complaints
FILES_TO_COMPUTE = 32  # that connections leave to scripts; half of what there is at most


class ScoringWorker(AnsweringWorker):
    """The worker of this service; its methods are called by gunicorn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.times_yielded, self.is_offered = 0, False
        self.next_look = 0.0  # when it is time again for what is not done at each event
        self.next_complaint = 0.0  # and when for saying again that there is no room
        self.own_sockets: list[Any] = []
        borrowed = settings.port_from
        self.port = None if borrowed is None else BorrowedPort(borrowed)

    def load_wsgi(self) -> None:
        """Load the models and score the example; only then open what others can reach.

        Gunicorn calls it in the new process.
        """
        end_at_signals()  # nothing is in flight: even code that does not return ends at once
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)  # blocked since before the fork
        if not startup.has_failed:  # the end of all workers is near then, and another would follow
            self._end_if_called_off()
        os.register_at_fork(
            before=hold_signals,
            after_in_parent=let_signals_through,
            after_in_child=self._be_no_worker,
        )
        load.begin(self.age)
        with startup.turn(self._show_life):
            self._show_life(settings.start + 2 * HELD_SECONDS)
            try:
                super().load_wsgi()
            except SystemExit as end:
                startup.fail()
                self.log.error("%s", end)
                self._end(FAILED)
        if settings.reuse_port:
            self.cfg.set("reuse_port", True)
            self.sockets = self.own_sockets = create_sockets(self.cfg, self.log)
        self.sockets = [*self.sockets, *replica_sockets]
        for listener in self.sockets:
            _set_up(listener)
        lifecycle.is_reachable = self.port is None
        self._borrow_port()
        self._leave_files_to_scripts()
        self.init_signals()
        connections.tell(self.age, 0)
        self._end_if_called_off()
        self.log.info("Worker %d is ready.", self.pid)
        if not lifecycle.is_reachable:
            self.log.warning("Nobody lends the port at %s (PORT_FROM) yet.", settings.port_from)

    def _leave_files_to_scripts(self) -> None:
        """Take fewer connections where they could keep each file that may be open.

        A script that opens one would fail then, while clients have nothing to say.
        """
        left = files_left()
        room = max(1, left // 2, left - FILES_TO_COMPUTE)
        if room < self.cfg.worker_connections:
            self.log.info(
                "Worker %d takes %d connections at once: it may open %d more files (ulimit -n), "
                "and leaves the others to what computes.",
                self.pid,
                room,
                left,
            )
            self.worker_connections = room

    def _end_if_called_off(self) -> None:
        # The parent may not have seen this one when it decided to end without a drain.
        if startup.is_called_off and not lifecycle.is_draining:
            raise SystemExit(0)

    def _be_no_worker(self) -> None:
        """Keep no port open, and end when told to, in a process that a script has forked.

        It would outlive this one, whose port would stay taken.
        """
        for listener in self.sockets:
            listener.close()
        end_at_signals()
        let_signals_through()

    def run(self) -> None:
        """Answer until the end, which waits for no thread that nobody waits for."""
        status: Any = 0
        try:
            super().run()
        except SystemExit as end:  # of a signal
            status = end.code
        except Exception:
            self.log.exception("Worker %d has failed.", self.pid)
            status = 1
        self._end(status)

    def _end(self, status: Any) -> NoReturn:
        faulthandler.cancel_dump_traceback_later()
        threading.Thread(target=end_at_last, args=(status, self.log), daemon=True).start()
        end_pools()
        threads = threads_that_go_on(self.tpool._threads)
        if going_on := [*self.answering, *self.left, *threads]:
            n, names = len(going_on), names_of(threads)
            self.log.info("Worker %d ends beside %d threads that go on. %s", self.pid, n, names)
            atexit._run_exitfuncs()
            with suppress(Exception):  # whatever a script has made of them
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
        raise SystemExit(status)

    def _borrow_port(self) -> None:
        """Take connections from the port that another process keeps, as soon as it is lent."""
        if self.port is None or not self.port.borrow():
            return
        _set_up(self.port.listener)
        self.sockets.append(self.port.listener)
        if self._accepting:
            self.poller.register(self.port.listener, selectors.EVENT_READ, self.accept)
        self.poller.register(self.port.keeper, selectors.EVENT_READ, self._lose_port)
        lifecycle.is_reachable = True

    def _lose_port(self, keeper: Any) -> None:
        """Be ready for nobody until the port is lent again: its keeper has ended."""
        assert self.port is not None
        lifecycle.is_reachable = False
        self.log.warning("Who kept the port (PORT_FROM) has ended; asking for it again.")
        self.poller.unregister(keeper)
        if self._accepting:
            self.poller.unregister(self.port.listener)
        self.sockets.remove(self.port.listener)
        self.port.give_up()

    def notify(self) -> None:
        """Do nothing at each event; :meth:`murder_pending` says that this worker does not hang."""

    def _show_life(self, seconds: float = 0.0) -> None:
        """Be no hanging worker for some time, as long as somebody waits for it."""
        if not self.is_parent_alive():
            raise SystemExit(FAILED)
        until = time.monotonic() + seconds
        os.utime(self.tmp.fileno(), (until, until))  # as gunicorn's notify() does for now

    def accept(self, listener: Any) -> None:
        """Take a new connection, or leave it for a moment to a worker that has fewer."""
        self.is_offered = True
        if listener.fileno() < 0:  # it was a borrowed one, and closed a moment ago
            return
        if self.nr_conns > connections.fewest() and self.times_yielded < MOST_YIELDS:
            self.times_yielded += 1
            time.sleep(YIELD_SECONDS)
            return
        self.times_yielded = 0
        self._take(listener)

    def _take(self, listener: Any) -> None:
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in OUT_OF_ROOM:
                raise
            self._make_room_for_one(error)

    def _make_room_for_one(self, error: OSError) -> None:
        """Close what has been idle for longest, or wait a moment: no file may be opened here."""
        if time.monotonic() > self.next_complaint:
            self.next_complaint = time.monotonic() + SECONDS_OF_SILENCE
            self.log.error(
                "Worker %d cannot take a connection: %s. New ones wait until others have gone; "
                "let the service have more open files (ulimit -n), or see what opens them.",
                self.pid,
                error.strerror,
            )
        if self.keepalived_conns:
            self._drop(self.keepalived_conns.popleft())
        else:
            time.sleep(MOST_YIELDS * YIELD_SECONDS)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin to take connections, or stop; the last time leave the ports to others too."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            self._close_sockets()
            self._take_time_to_end()

    def _take_time_to_end(self) -> None:
        """Let each request have its time where only this worker ends, and not the service.

        Where all of it ends, whoever cannot be answered by then is told so.
        """
        if not lifecycle.is_draining:
            seconds = settings.deadline + 2 * settings.slow_client + SECONDS_TO_END
            self.cfg.set("graceful_timeout", max(self.cfg.graceful_timeout, int(seconds)))

    def _close_sockets(self) -> None:
        """Take who waits where nobody else does in time, and close those sockets.

        They are those of this worker alone (REUSE_PORT), or all where the whole service ends.
        Whoever came later would wait there until this worker ends, and be hung up on then.
        """
        closed = self.sockets if lifecycle.is_draining else self.own_sockets
        for listener in closed:
            before = -1
            while self.nr_conns != before:
                before = self.nr_conns
                self._take(listener)
            listener.close()
        self.own_sockets = []

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events and handle them.

        Then tell the other workers how many connections are here.
        """
        self.is_offered = False
        # Somebody sends, takes, or is answered: perhaps by a thread that is about to begin.
        if self.nr_conns > len(self.keepalived_conns):
            timeout = min(timeout, LOOK_SECONDS)
        super().wait_for_and_dispatch_events(timeout)
        if not self.is_offered:  # another worker has taken it
            self.times_yielded = 0
        # Nobody leaves a new connection to a worker that ends.
        connections.tell(self.age, self.nr_conns if self.alive else self.worker_connections)

    def murder_pending(self) -> None:
        """Run at least once a second in the main loop, and after each of its events."""
        super().murder_pending()
        self._make_room()
        if (now := time.monotonic()) < self.next_look:
            return
        self.next_look = now + LOOK_SECONDS
        super().notify()
        # Of code that keeps the interpreter, nobody else could say where it stands.
        faulthandler.dump_traceback_later(PATIENCE * settings.deadline + SECONDS_TO_END)
        self._borrow_port()
        self._give_up_slow_clients()
        self._drop_slow_clients()
        self._answer_late_requests()
        self._end_if_stuck()


def _set_up(listener: Any) -> None:
    # Its connections inherit it.
    if listener.family == socket.AF_UNIX:
        return
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, LEAST_KEPT)
