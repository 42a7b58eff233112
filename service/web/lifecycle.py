"""What an application has to know of the process that it runs in: how long it will go on.

Next: `service.web.keys`.
"""

import math


class Lifecycle:
    """A process that never ends, as far as anybody knows: one for tests and for other servers.

    The server hands its own to :func:`service.web.app.create_app`, one that knows of its end.

    Examples
    --------
    >>> Lifecycle().is_draining
    False
    >>> Lifecycle().last_answer()
    inf

    Attributes
    ----------
    is_reachable : bool
        Whether this process takes connections from the port that clients know.
    answers_late_requests : bool
        Whether the server answers for a thread that computes for longer than the deadline.
    """

    is_reachable: bool = True
    answers_late_requests: bool = False

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to stop, and new requests should be sent elsewhere."""
        return False

    def last_answer(self) -> float:
        """Return the time of the monotonic clock after which the process can answer nobody."""
        return math.inf
