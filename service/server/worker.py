"""Gunicorn's threaded worker, hardened against clients that do nothing.

None of them keeps a thread, or the main loop. Gunicorn imports this module before it makes the
environment of the libraries: none of those that read it may be imported here.

Next: `service.server.incoming`.
"""

import atexit
import errno
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from functools import partial
from operator import attrgetter
from typing import Any, NoReturn

from gunicorn.http import get_parser
from gunicorn.sock import create_sockets, ssl_wrap_socket
from gunicorn.workers.gthread import TConn, ThreadWorker

from service.server.borrowed_port import BorrowedPort
from service.server.incoming import Incoming, Limits, is_short_of_room
from service.server.malformed_requests import is_malformed, refuse
from service.server.process import connections, lifecycle, load, replica_sockets, settings, startup
from service.server.startup import ENDING, FAILED, HELD_SECONDS
from service.web.request_limits import Deadline, ServedRequest, of_this_request
from service.web.slow_clients import (
    Outgoing,
    forget_unsent,
    is_pressed,
    keep_unsent,
)

# A worker that is busy, or stopped, does not keep a client waiting.
YIELD_SECONDS, MOST_YIELDS = 0.001, 50
SECONDS_TO_GO = 2.0  # for a client that has its answer
SECONDS_TO_GIVE_UP = 0.2  # behind its deadline, for a thread that is about to say so itself
LEFT = object()  # in the place of a request that was answered in the place of its thread
CLOSES: Future[bool] = Future()  # of an answer after which the connection is not kept
CLOSES.set_result(False)
# Beyond what requests may take: for clients that are about to send one, or to go.
SECONDS_TO_END = 5.0
LOOK_SECONDS = 0.1  # at least, between two looks at all clients and computations
# Bytes of an answer that the kernel keeps for a slow client: with more of them it could not be seen
# for a long time whether the client takes any.
LEAST_KEPT = 2**18
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing throws away what was not sent
# What accept() says where files, or memory for one more, have run out.
OUT_OF_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SECONDS_OF_SILENCE = 10.0  # between two complaints


class ScoringWorker(ThreadWorker):  # type: ignore[misc]
    """The worker of this service; its methods are called by gunicorn."""

    alive: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.times_yielded, self.is_offered = 0, False
        self.next_look = 0.0  # when it is time again for what is not done at each event
        self.next_complaint = 0.0  # and when for saying again that there is no room
        self.own_sockets: list[Any] = []
        self.arriving: dict[TConn, Incoming] = {}  # requests that are not whole yet
        self.handed_over: dict[TConn, Outgoing] = {}  # by a thread: not all could be sent at once
        self.unsent: dict[TConn, Outgoing] = {}  # which the main loop goes on sending
        self.leaving: dict[TConn, float] = {}  # clients that should go, and until when
        # What threads answer: whoever takes it out of here answers.
        self.answering: dict[TConn, tuple[Any, ServedRequest] | None] = {}
        # What was answered in the place of threads that still go on.
        self.left: dict[TConn, ServedRequest] = {}
        # As the parser has them, which allows for the ends of lines.
        self.limits = Limits(
            line=self.cfg.limit_request_line + 2,
            head=self.cfg.limit_request_fields * (self.cfg.limit_request_field_size + 2) + 4,
            body=settings.max_content_length,
            seconds=settings.slow_client,
        )
        borrowed = settings.port_from
        self.port = None if borrowed is None else BorrowedPort(borrowed)

    def load_wsgi(self) -> None:
        """Load the models and score the example; only then open what others can reach.

        Gunicorn calls it in the new process.
        """
        for number in ENDING:  # nothing is in flight: even code that does not return ends at once
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)  # blocked since before the fork
        if not startup.has_failed:  # the end of all workers is near then, and another would follow
            self._end_if_called_off()
        load.begin(self.age)
        with startup.turn(self._show_life):
            self._show_life(settings.start + 2 * HELD_SECONDS)
            try:
                super().load_wsgi()
            except SystemExit as end:
                startup.fail()
                self.log.error("%s", end)
                raise SystemExit(FAILED) from None
        if settings.reuse_port:
            self.cfg.set("reuse_port", True)
            self.sockets = self.own_sockets = create_sockets(self.cfg, self.log)
        self.sockets = [*self.sockets, *replica_sockets]
        for listener in self.sockets:
            _set_up(listener)
        lifecycle.is_reachable = self.port is None
        self._borrow_port()
        self.init_signals()
        connections.tell(self.age, 0)
        self._end_if_called_off()
        self.log.info("Worker %d is ready.", self.pid)
        if not lifecycle.is_reachable:
            self.log.warning("Nobody lends the port at %s (PORT_FROM) yet.", settings.port_from)

    def _end_if_called_off(self) -> None:
        # The parent may not have seen this one when it decided to end without a drain.
        if startup.is_called_off and not lifecycle.is_draining:
            raise SystemExit(0)

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
        if self.answering or self.left:
            self.log.info("Worker %d ends beside what it computes.", self.pid)
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
            self._close_own_sockets()
            self._take_time_to_end()

    def _take_time_to_end(self) -> None:
        """Let each request have its time where only this worker ends, and not the service.

        Where all of it ends, whoever cannot be answered by then is told so.
        """
        if not lifecycle.is_draining:
            seconds = settings.deadline + 2 * settings.slow_client + SECONDS_TO_END
            self.cfg.set("graceful_timeout", max(self.cfg.graceful_timeout, int(seconds)))

    def _close_own_sockets(self) -> None:
        """Take who waits at the sockets of this worker alone, and close them (REUSE_PORT).

        Whoever came later would wait there until it ends, and be hung up on then.
        """
        for listener in self.own_sockets:
            before = -1
            while self.nr_conns != before:
                before = self.nr_conns
                super().accept(listener)
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

    def enqueue_req(self, conn: TConn) -> None:
        """Receive a request in the main loop; a thread gets it when it is whole.

        A new connection is like a kept-alive one until its first byte is there: it is closed when
        it stays silent. Gunicorn would let both keep a thread.
        """
        if not conn.data_ready:
            conn.data_ready = True
            conn.set_timeout()
            self.keepalived_conns.append(conn)
            self._watch(conn, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))
            return
        try:
            self._begin(conn)
            self._receive(conn)
        except OSError:  # it has gone
            self._drop(conn)

    def _begin(self, conn: TConn) -> None:
        if conn.initialized:
            conn.incoming.begin()
            return
        conn.sock.setblocking(False)
        if self.cfg.is_ssl:  # the first bytes that are received shake hands
            conn.sock = ssl_wrap_socket(conn.sock, self.cfg)
        conn.sock = Outgoing(conn.sock, settings.slow_client)
        conn.incoming = Incoming(conn.sock, self.limits)
        conn.parser = get_parser(self.cfg, conn.incoming, conn.client)
        conn.initialized = True

    def _receive(self, conn: TConn) -> None:
        conn.incoming.receive()
        if conn.incoming.is_ready:
            super().enqueue_req(conn)
        else:
            self.arriving[conn] = conn.incoming
            self._watch(conn, selectors.EVENT_READ, partial(self._receive_on, conn))

    def _receive_on(self, conn: TConn, _: Any) -> None:
        try:
            conn.incoming.receive()
        except OSError:
            self._drop(conn)
            return
        if conn.incoming.is_ready:
            self._hand_over(conn)

    def _hand_over(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        del self.arriving[conn]
        super().enqueue_req(conn)

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

    def _send(self, conn: TConn) -> None:
        if not conn.sock.push():
            self.handed_over[conn] = conn.sock

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
        with suppress(OSError):  # it has gone
            self._refuse_late(others, req, begun[1].in_place())
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

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        # Whatever was not read of the body is here: gunicorn would wait for it.
        return keepalive and conn.parser.finish_body()

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Send the rest of an answer, then keep the connection or let it go; in the main loop."""
        outcome = _outcome(fs)
        if conn in self.left:
            del self.left[conn]
        elif conn in self.handed_over:
            self.unsent[conn] = self.handed_over.pop(conn)
            keep_unsent(self.unsent[conn])
            self._watch(conn, selectors.EVENT_WRITE, partial(self._send_on, conn, fs))
        elif outcome:
            conn.incoming.put_back(conn.parser.unreader.take_buffered())
            if len(conn.incoming):
                self.enqueue_req(conn)
            else:
                super().finish_request(conn, fs)
        else:
            self._let_go(conn)

    def _watch(self, conn: TConn, event: int, callback: Callable[[Any], None]) -> None:
        self.poller.register(conn.sock, event, callback)

    def _send_on(self, conn: TConn, fs: Future[Any], client: Any) -> None:
        try:
            is_sent = self.unsent[conn].push()
        except OSError:
            self._drop(conn)
            return
        if is_sent:
            self.poller.unregister(client)
            forget_unsent(self.unsent.pop(conn))
            self.finish_request(conn, fs)

    def _let_go(self, conn: TConn) -> None:
        """Say that nothing more will come, and give the client a moment to go by itself.

        It may still be taking the answer. Gunicorn would wait for it here, and everybody with it.
        """
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            self._watch(conn, selectors.EVENT_READ, partial(self._drain, conn))
            self.leaving[conn] = time.monotonic() + SECONDS_TO_GO
        except (OSError, ValueError):  # it has gone
            self._drop(conn)

    def _drain(self, conn: TConn, client: Any) -> None:
        try:
            is_there = bool(client.recv(2**16))
        except BlockingIOError:
            is_there = True
        except OSError:
            is_there = False
        if not is_there:
            self._drop(conn)

    def _drop(self, conn: TConn) -> None:
        self.leaving.pop(conn, None)
        self.arriving.pop(conn, None)
        if conn in self.unsent:
            forget_unsent(self.unsent.pop(conn))
            with suppress(OSError):  # nothing of it stays in the kernel either
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def _give_up_slow_clients(self) -> None:
        has_no_room = self._is_full() or is_short_of_room(self.limits)
        for conn, incoming in list(self.arriving.items()):
            incoming.give_up_if_late(has_no_room)
            if incoming.is_ready:
                self._hand_over(conn)

    def _is_full(self) -> bool:
        return bool(self.nr_conns >= self.worker_connections)

    def _make_room(self) -> None:
        """Close what has been idle for longest where no new connection could be taken."""
        while self.keepalived_conns and self._is_full():
            self._drop(self.keepalived_conns.popleft())

    def _drop_slow_clients(self) -> None:
        has_no_room = is_pressed()
        for conn, answer in list(self.unsent.items()):
            if answer.is_late(has_no_room):
                self.log.warning(
                    "Hung up on %s, which did not take its answer in time "
                    "(SLOW_CLIENT_SECONDS); %d bytes were left.",
                    *conn.client[:1] or ("another replica",),
                    len(answer),
                )
                self._drop(conn)
        now = time.monotonic()
        for conn, end in list(self.leaving.items()):
            if now > end:
                self._drop(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what is no HTTP in the service's own form.

        Gunicorn would quote it, in HTML and in the log.
        """
        if is_malformed(exc):
            record = self.wsgi.extensions["record_malformed"]
            refuse(client, addr[0] if addr else "", exc, record)
        else:
            super().handle_error(req, client, addr, exc)

    def murder_pending(self) -> None:
        """Run at least once a second in the main loop, and after each of its events."""
        super().murder_pending()
        self._make_room()
        if (now := time.monotonic()) < self.next_look:
            return
        self.next_look = now + LOOK_SECONDS
        super().notify()
        self._borrow_port()
        self._give_up_slow_clients()
        self._drop_slow_clients()
        self._answer_late_requests()
        self._end_if_stuck()

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


def _outcome(done: Future[Any]) -> bool | None:
    """Return what :meth:`ScoringWorker.handle` has returned, False when it failed."""
    has_failed = done.cancelled() or done.exception() is not None
    return False if has_failed else done.result()


def _set_up(listener: Any) -> None:
    # Its connections inherit it.
    if listener.family == socket.AF_UNIX:
        return
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, LEAST_KEPT)
