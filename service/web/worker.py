"""Gunicorn's threaded worker, hardened: it hangs up on slow clients, and while draining after each answer."""

from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from service.web.drain import draining
from service.web.settings import Settings
from service.web.slow_clients import finished, hang_up_on_slow_clients, reading


class ScoringWorker(ThreadWorker):  # type: ignore[misc]
    """The worker of this service; its methods are called by gunicorn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.slow_client = Settings.from_environment().slow_client

    def handle(self, conn: TConn) -> Any:
        """Handle one request of a connection, in a thread of the pool; first its headers are read."""
        with reading(conn.sock, self.slow_client):
            return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> bool:
        """Answer a request whose headers have been read."""
        finished()
        if draining:
            req.force_close()  # the client connects anew, elsewhere
        return super().handle_request(req, conn)

    def murder_pending(self) -> None:
        """Run about once a second in the main loop."""
        super().murder_pending()
        hang_up_on_slow_clients()
