"""What comes from clients and what goes to them: all of it in the main loop, and none of it waits.

A thread gets a request when it is whole, and leaves what its client does not take at once of the
answer. Clients that are slow, or idle, keep neither a thread nor the main loop.

Next: `service.server.incoming`.
"""

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from gunicorn.http import get_parser
from gunicorn.sock import ssl_wrap_socket
from gunicorn.workers.gthread import TConn, ThreadWorker

from service.server.incoming import Incoming, Limits, is_short_of_room
from service.server.process import settings
from service.server.worker.malformed_requests import is_malformed, refuse
from service.web.slow_clients import Outgoing, forget_unsent, is_pressed, keep_unsent

SECONDS_TO_GO = 2.0  # for a client that has its answer
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing throws away what was not sent


class ClientsWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's threaded worker, which no client keeps waiting."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.arriving: dict[TConn, Incoming] = {}  # requests that are not whole yet
        self.handed_over: dict[TConn, Outgoing] = {}  # by a thread: not all could be sent at once
        self.unsent: dict[TConn, Outgoing] = {}  # which the main loop goes on sending
        self.leaving: dict[TConn, float] = {}  # clients that should go, and until when
        # As the parser has them, which allows for the ends of lines.
        self.limits = Limits(
            line=self.cfg.limit_request_line + 2,
            head=self.cfg.limit_request_fields * (self.cfg.limit_request_field_size + 2) + 4,
            body=settings.max_content_length,
            seconds=settings.slow_client,
        )

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
        with self._dropped_if_gone(conn):
            self._begin(conn)
            self._receive(conn)

    @contextmanager
    def _dropped_if_gone(self, conn: TConn) -> Iterator[None]:
        try:
            yield
        except OSError:
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
        with self._dropped_if_gone(conn):
            conn.incoming.receive()
            if conn.incoming.is_ready:
                self._hand_over(conn)

    def _hand_over(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        del self.arriving[conn]
        super().enqueue_req(conn)

    def _send(self, conn: TConn) -> None:
        if not conn.sock.push():
            self.handed_over[conn] = conn.sock

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        # Whatever was not read of the body is here: gunicorn would wait for it.
        return keepalive and conn.parser.finish_body()

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Send the rest of an answer, then keep the connection or let it go; in the main loop."""
        if conn in self.handed_over:
            self.unsent[conn] = self.handed_over.pop(conn)
            keep_unsent(self.unsent[conn])
            self._watch(conn, selectors.EVENT_WRITE, partial(self._send_on, conn, fs))
        elif _is_kept(fs):
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
        with self._dropped_if_gone(conn):
            if self.unsent[conn].push():
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
        with self._dropped_if_gone(conn), suppress(BlockingIOError):
            if not client.recv(2**16):
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


def _is_kept(done: Future[Any]) -> bool:
    """Tell whether the thread of a request has left its connection open."""
    has_failed = done.cancelled() or done.exception() is not None
    return not has_failed and bool(done.result())
