"""Clients that never retry: what they count as failed, a user would have seen."""

import http.client
import threading
import time
from collections import Counter

REQUEST_SECONDS = 30


class Load:
    """Sends requests until it is stopped: half of the clients on a connection each, half with a new
    one each time.

    Every second client asks for explanations; the others for predictions only. `pause` seconds lie
    between a client's requests, so that what is measured is losses and not a queue.
    """

    def __init__(
        self, port, body, clients=32, pause=0.3, expected=None, *, host="127.0.0.1", headers=None
    ):
        self.headers = headers or {}
        self.host, self.port, self.body, self.pause, self.expected = (
            host,
            port,
            body,
            pause,
            expected,
        )
        self.answers, self.slowest, self._stopped, self._lock = (
            Counter(),
            0.0,
            threading.Event(),
            threading.Lock(),
        )
        self._threads = [
            threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(clients)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join(REQUEST_SECONDS + 5)
        assert not any(thread.is_alive() for thread in self._threads)

    @property
    def failed(self):
        """Everything but the expected answer, by what came instead."""
        return {answer: count for answer, count in self.answers.items() if answer != "as expected"}

    @property
    def succeeded(self):
        return self.answers["as expected"]

    def _client(self, number):
        path = "/score" if number % 2 else "/score?explain=false"
        persistent = number % 4 < 2
        connection, answered = self._connect(), time.monotonic()
        while not self._stopped.is_set():
            if not persistent:
                connection.close()
                connection = self._connect()
            start = time.monotonic()
            # What tells a lost request from a connection that was silent for too long.
            history = (
                f"idle for {start - answered:.1f} s" if connection.sock else "a new connection"
            )
            outcome = self._ask(connection, path, history)
            answered = time.monotonic()
            with self._lock:
                self.answers[outcome] += 1
                self.slowest = max(self.slowest, answered - start)
            self._stopped.wait(self.pause)
        connection.close()

    def _connect(self):
        return http.client.HTTPConnection(self.host, self.port, timeout=REQUEST_SECONDS)

    def _ask(self, connection, path, history):
        start = time.monotonic()
        try:
            connection.request(
                "POST", path, self.body, self.headers
            )  # http.client connects anew after "Connection: close"
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return f"{type(error).__name__}: {error} ({history}, {time.monotonic() - start:.1f} s)"
        if answer.status != 200:
            return f"{answer.status} {text[:80]!r}"
        if self.expected is not None and path == "/score" and text != self.expected:
            return "another answer"
        return "as expected"
