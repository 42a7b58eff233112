"""Gunicorn's threaded worker, hardened against clients that do nothing.

None of them keeps a thread, or the main loop. Gunicorn imports this module before it makes the
environment of the libraries: none of those that read it may be imported here.

Next: `service.server.malformed_requests`.
"""

import os
import selectors
import signal
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.sock import create_sockets
from gunicorn.workers.gthread import TConn, ThreadWorker

from service.server.borrowed_port import BorrowedPort
from service.server.malformed_requests import is_malformed, refuse
from service.server.process import connections, lifecycle, replica_sockets, settings, startup
from service.server.startup import ENDING, FAILED, HELD_SECONDS
from service.web.slow_clients import (
    Outgoing,
    finished,
    forget_unsent,
    hang_up_on_slow_clients,
    is_pressed,
    keep_unsent,
    reading,
)

# A worker that is busy, or stopped, does not keep a client waiting.
YIELD_SECONDS, MOST_YIELDS = 0.001, 50
SECONDS_TO_GO = 2.0  # for a client that has its answer
# Bytes of an answer that the kernel keeps for a slow client: with more of them it could not be seen
# for a long time whether the client takes any.
LEAST_KEPT = 2**18
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing throws away what was not sent


class ScoringWorker(ThreadWorker):  # type: ignore[misc]
    """The worker of this service; its methods are called by gunicorn."""

    alive: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.times_yielded, self.is_offered = 0, False
        self.handed_over: dict[TConn, Outgoing] = {}  # by a thread: not all could be sent at once
        self.unsent: dict[TConn, Outgoing] = {}  # which the main loop goes on sending
        self.leaving: dict[TConn, float] = {}  # clients that should go, and until when
        borrowed = settings.port_from
        self.port = None if borrowed is None else BorrowedPort(borrowed)

    def load_wsgi(self) -> None:
        """Load the models and score the example; only then open what others can reach.

        Gunicorn calls it in the new process.
        """
        for number in ENDING:  # nothing is in flight: even code that does not return ends at once
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)  # blocked since before the fork
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
            self.sockets = create_sockets(self.cfg, self.log)
        self.sockets = [*self.sockets, *replica_sockets]
        for listener in self.sockets:
            _set_up(listener)
        lifecycle.is_reachable = self.port is None
        self._borrow_port()
        self.init_signals()
        connections.tell(self.age, 0)
        self.log.info("Worker %d is ready.", self.pid)
        if not lifecycle.is_reachable:
            self.log.warning("Nobody lends the port at %s (PORT_FROM) yet.", settings.port_from)

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
        super().accept(listener)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events and handle them.

        Then tell the other workers how many connections are here.
        """
        self.is_offered = False
        super().wait_for_and_dispatch_events(timeout)
        if not self.is_offered:  # another worker has taken it
            self.times_yielded = 0
        connections.tell(self.age, self.nr_conns)

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection to the pool of threads, a new one when its first byte is there.

        Until then it is like a kept-alive one: the main loop watches it, and closes it when it
        stays silent. Gunicorn would let it keep a thread for five seconds.
        """
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_first_byte, conn))

    def _on_first_byte(self, conn: TConn, client: Any) -> None:
        conn.data_ready = True
        self.on_client_socket_readable(conn, client)

    def handle(self, conn: TConn) -> Any:
        """Handle one request of a connection, in a thread of the pool.

        First its headers are read.
        """
        with reading(lambda: conn.sock, settings.slow_client):
            return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> bool:
        """Answer a request whose headers have been read; send what the client takes at once."""
        finished()
        if lifecycle.is_draining:
            req.force_close()  # the client connects anew, elsewhere
        client = conn.sock
        answer = conn.sock = Outgoing(client, settings.slow_client)
        try:
            is_kept = super().handle_request(req, conn)
        finally:
            conn.sock = client
        client.setblocking(False)
        is_sent = answer.push()
        client.setblocking(True)
        if not is_sent:
            self.handed_over[conn] = answer
        return is_kept

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Send the rest of an answer, then keep the connection or let it go; in the main loop."""
        if conn in self.handed_over:
            self.unsent[conn] = self.handed_over.pop(conn)
            keep_unsent(self.unsent[conn])
            self._watch(conn, selectors.EVENT_WRITE, partial(self._send_on, conn, fs))
        elif not fs.cancelled() and fs.exception() is None and fs.result():
            super().finish_request(conn, fs)
        else:
            self._let_go(conn)

    def _watch(self, conn: TConn, event: int, callback: Callable[[Any], None]) -> None:
        conn.sock.setblocking(False)
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
        if conn in self.unsent:
            forget_unsent(self.unsent.pop(conn))
            with suppress(OSError):  # nothing of it stays in the kernel either
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

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
        """Run at least once a second in the main loop."""
        super().murder_pending()
        self._borrow_port()
        hang_up_on_slow_clients()
        self._drop_slow_clients()
        if self.alive and (stuck := self.wsgi.extensions["stuck"]()):
            self.log.error(
                "Worker %d has a computation that does not end (DEADLINE_SECONDS is long over): it "
                "finishes its other requests, and another takes its place. It stands here:\n%s",
                self.pid,
                "\n".join(stuck),
            )
            self.alive = False


def _set_up(listener: Any) -> None:
    # Its connections inherit it.
    if listener.family == socket.AF_UNIX:
        return
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, LEAST_KEPT)
